import { describe, expect, test } from 'vitest'
import type { EventMap } from '../../src/index.js'
import { dialects } from '../../src/index.js'
import { type RelayResponseOptions, relayResponse } from '../../src/web/index.js'
import { chatAnswer, chatChunk, failureOf } from '../support/chat.js'
import { serveFetch } from '../support/fetch-server.js'
import { rawRequest } from '../support/raw-client.js'
import { good, type Script, startUpstream } from '../support/scripted-upstream.js'

async function seen(script: Script, options: RelayResponseOptions = {}, map?: EventMap) {
  await using upstream = await startUpstream(script)
  await using server = await serveFetch(
    (onEnd) => (request) =>
      relayResponse(({ signal }) => fetch(upstream.url, { method: 'POST', signal }), map, {
        request,
        onEnd,
        ...options,
      }),
  )
  using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
  return { client, end: await server.end() }
}

describe('before the first event a failure has a status of its own', () => {
  test.each<[string, Script, number]>([
    [
      'an upstream that refuses',
      (exchange) => exchange.answer('429 Too Many Requests', '{"error":{"message":"slow"}}'),
      429,
    ],
    ['one that hangs up', (exchange) => exchange.fin(), 503],
    ['one that begins, and hangs up', (exchange) => exchange.open().fin(), 503],
    ['one that ends with nothing', (exchange) => exchange.open().end(), 502],
    [
      'one that reports an error first',
      (exchange) =>
        exchange
          .open()
          .data({ error: { message: 'no', code: 400 } })
          .end(),
      400,
    ],
    ['a page', (exchange) => exchange.open('Content-Type: text/html').chunk('<html>').end(), 502],
  ])('%s', async (_what, script, status) => {
    const { client, end } = await seen(script)
    expect(client.status).toBe(status)
    expect(client.header('content-type')).toBe('application/json; charset=utf-8')
    expect(client.header('cache-control')).toBe('no-store')
    expect(client.json.error.message).toEqual(expect.any(String))
    expect(end).toMatchObject({ status, events: 0, bytes: 0 })
  })

  test('a function that throws, and a promise that rejects', async () => {
    for (const upstream of [
      () => {
        throw new Error('a bug')
      },
      Promise.reject(Object.assign(new Error('reset'), { code: 'ECONNRESET' })),
    ]) {
      const response = await relayResponse(upstream, undefined, { onEnd: () => true })
      expect(response.status).toBe(typeof upstream === 'function' ? 500 : 503)
    }
  })

  test('a client that leaves gets nothing, and its handler a response all the same', async () => {
    const controller = new AbortController()
    const request = new Request('http://localhost/', { signal: controller.signal })
    const responding = relayResponse(() => new Promise<Response>(() => {}), undefined, { request })
    controller.abort()
    expect((await responding).status).toBe(499)
  })
})

test('the headers wait for the first event, and no longer than headersAfterMs', async () => {
  await using upstream = await startUpstream((exchange) => exchange.open())
  await using server = await serveFetch(
    (onEnd) => (request) =>
      relayResponse(fetch(upstream.url, { method: 'POST' }), undefined, {
        request,
        onEnd,
        writer: { headersAfterMs: 100, heartbeatMs: 20 },
      }),
  )
  using client = await rawRequest({ port: server.port, body: { stream: true } }).received(':\n')
  expect(client.status).toBe(200)
  await client.until(() => client.bodyText.split(':\n').length > 3)
  ;(await upstream.exchange(0)).data(chatChunk('Hello')).fin()
  await client.finished()
  expect(failureOf(client.data).code).toBe('connection_reset')
  expect((await server.end()).heartbeats).toBeGreaterThan(2)
})

test('events can be translated', async () => {
  const { client } = await seen(good, {}, ({ data }) =>
    data === '[DONE]' ? { data } : [{ data: data.replace('Hello', 'Bye') }],
  )
  expect(client.bodyText).toContain('Bye')
  expect(client.data.at(-1)).toBe('[DONE]')
})

test('an upstream that answers with JSON becomes a stream', async () => {
  const answer = {
    id: 'a',
    object: 'chat.completion',
    choices: [{ index: 0, message: { role: 'assistant', content: 'Hello' }, finish_reason: 'stop' }],
  }
  const { client } = await seen((exchange) => exchange.answer('200 OK', JSON.stringify(answer)))
  expect(client.header('content-type')).toBe('text/event-stream; charset=utf-8')
  expect(client.bodyText).toContain('Hello')
  expect(client.data.at(-1)).toBe('[DONE]')
})

test('a dialect with headers of its own has them', async () => {
  const { client } = await seen((exchange) => exchange.open().data({ type: 'start' }, '[DONE]').end(), {
    dialect: dialects.aiSdkUi,
  })
  expect(client.header('x-vercel-ai-ui-message-stream')).toBe('v1')
})

test('options that are wrong reject', async () => {
  const upstream = () => new Response()
  await expect(relayResponse(upstream, { request: 1 } as never)).rejects.toThrow(
    'options are the third argument',
  )
  await expect(relayResponse(upstream, undefined, { timeouts: { totalMs: 0 } })).rejects.toThrow(
    'timeouts.totalMs',
  )
})

test('a body that other code reads is an internal error', async () => {
  const upstream = new Response(
    chatAnswer('Hello')
      .map((each) => `data: ${JSON.stringify(each)}\n\n`)
      .join(''),
  )
  upstream.body?.getReader()
  const response = await relayResponse(upstream, undefined, { onEnd: () => true })
  expect(response.status).toBe(500)
})
