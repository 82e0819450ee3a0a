import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { detectStreamingRequest, type StreamingRequestLike } from '../../src/index.js'

const chat = { method: 'POST', url: '/v1/chat/completions' }

describe('a parsed body decides', () => {
  test.each<[unknown, boolean]>([
    [{ stream: true }, true],
    [{ stream: false }, false],
    [{ model: 'x' }, false],
    [{ stream: 'true' }, false],
    [{ stream: 1 }, false],
    [[{ stream: true }], false],
  ])('%j', (body, expected) => {
    const hints = { accept: 'text/event-stream', 'user-agent': 'SillyTavern' }
    expect(detectStreamingRequest({ ...chat, headers: hints, body })).toBe(expected)
  })

  test.each<[string, object, boolean]>([
    ['/api/chat', { model: 'llama', messages: [] }, true],
    ['/api/generate', { model: 'llama', prompt: 'Hi' }, true],
    ['/ollama/api/chat/', { model: 'llama', messages: [] }, true],
    ['/api/chat', { model: 'llama', messages: [], stream: false }, false],
    // The AI SDK's own path: its handler says what it sends.
    ['/api/chat', { id: 'c1', messages: [] }, false],
    ['/api/embed', { model: 'llama', prompt: 'Hi' }, false],
    ['/v1/chat/completions', { model: 'llama', messages: [] }, false],
  ])('Ollama streams unless the request says otherwise: %s, %j', (url, body, expected) => {
    expect(detectStreamingRequest({ method: 'POST', url, headers: {}, body })).toBe(expected)
  })

  test('but not a stream it inherits', () => {
    expect(
      detectStreamingRequest({
        ...chat,
        body: Object.create({ stream: true }, { model: { value: 1, enumerable: true } }),
      }),
    ).toBe(false)
  })

  test('alt=sse and :streamGenerateContent say so in the URL', () => {
    const body = { contents: [] }
    const path = '/v1beta/models/gemini-2.5-pro:streamGenerateContent'
    expect(detectStreamingRequest({ method: 'POST', url: path, body })).toBe(true)
    expect(detectStreamingRequest({ method: 'POST', url: '/x:generateContent?key=1&alt=sse', body })).toBe(
      true,
    )
    expect(detectStreamingRequest({ method: 'POST', url: '/x?salt=sse', body })).toBe(false)
  })
})

describe('without a parsed body, Accept', () => {
  test.each<[string, boolean]>([
    ['text/event-stream', true],
    ['application/x-ndjson', true],
    ['TEXT/Event-Stream; q=0.5', true],
    ['application/json, text/event-stream', true],
    ['application/json, text/event-stream;q=0.5', false],
    ['text/event-stream;q=0', false],
    ['text/event-stream;q=0, */*', false],
    ['*/*', false],
    ['', false],
  ])('%j', (accept, expected) => {
    expect(detectStreamingRequest({ method: 'GET', url: '/events', headers: { accept } })).toBe(expected)
  })

  test('the empty body that Express 4 puts on every request says nothing', () => {
    const headers = { accept: 'text/event-stream' }
    expect(detectStreamingRequest({ method: 'GET', url: '/', headers, body: {} })).toBe(true)
  })
})

describe('at last the hints', () => {
  test('a POST to a known path, a known User-Agent', () => {
    expect(detectStreamingRequest({ ...chat, headers: {} })).toBe(true)
    expect(detectStreamingRequest({ ...chat, method: 'GET', headers: {} })).toBe(false)
    expect(detectStreamingRequest({ method: 'POST', url: '/other', headers: {} })).toBe(false)
    const headers = { 'user-agent': 'SillyTavern/1.12' }
    expect(detectStreamingRequest({ method: 'POST', url: '/other', headers })).toBe(true)
    expect(detectStreamingRequest({ ...chat, headers: { accept: 'text/event-stream;q=0' } })).toBe(false)
  })

  test('of one’s own', () => {
    const hints = { paths: ['/talk', /^\/say\b/g], userAgents: ['Robot'] }
    expect(detectStreamingRequest({ method: 'POST', url: '/talk?x', headers: {} }, hints)).toBe(true)
    expect(detectStreamingRequest({ method: 'POST', url: '/say/it', headers: {} }, hints)).toBe(true)
    expect(detectStreamingRequest({ method: 'POST', url: '/say/it', headers: {} }, hints)).toBe(true)
    expect(detectStreamingRequest({ ...chat, headers: {} }, hints)).toBe(false)
    expect(detectStreamingRequest({ method: 'GET', headers: { 'user-agent': 'Robot 1' } }, hints)).toBe(true)
  })
})

describe('every shape of request', () => {
  test('Express behind a router, Koa, node:http, Fetch', async () => {
    expect(detectStreamingRequest({ method: 'POST', originalUrl: chat.url, url: '/', headers: {} })).toBe(
      true,
    )
    const koa = {
      method: 'POST',
      url: '/',
      headers: {},
      body: { stream: false },
      request: { body: { stream: true } },
    }
    expect(detectStreamingRequest(koa)).toBe(true)
    expect(detectStreamingRequest({ request: { method: 'POST', url: chat.url, headers: {} } })).toBe(true)
    const message = Object.assign(new IncomingMessage(new Socket()), chat)
    expect(detectStreamingRequest(message)).toBe(true)
    const request = new Request(`http://proxy${chat.url}`, { method: 'POST', body: '{"stream":true}' })
    expect(detectStreamingRequest(request)).toBe(true)
    expect(request.bodyUsed).toBe(false)
    const event = new Request('http://proxy/x', { headers: { accept: 'text/event-stream' } })
    expect(detectStreamingRequest(event)).toBe(true)
  })

  test('a body that is text, bytes or a stream is not parsed', () => {
    for (const body of ['{"stream":true}', Buffer.from('x'), new ReadableStream(), null, 7]) {
      expect(detectStreamingRequest({ method: 'POST', url: '/other', headers: {}, body })).toBe(false)
    }
  })
})

test('no request makes it throw, however hostile', () => {
  const headers = fc.dictionary(
    fc.constantFrom('accept', 'user-agent', '__proto__', 'x'),
    fc.oneof(fc.string(), fc.array(fc.string())),
  )
  const request = fc.record(
    { method: fc.string(), url: fc.string(), headers, body: fc.anything() },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(request, (hostile) => {
      expect(typeof detectStreamingRequest(hostile as StreamingRequestLike)).toBe('boolean')
    }),
  )
  const huge = { method: 'GET', url: '/', headers: { accept: 'a/b,'.repeat(1_000_000) } }
  expect(detectStreamingRequest(huge)).toBe(false)
})
