import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, expect, test } from 'vitest'
import { type StreamEnd, wrapApp } from '../../src/index.js'
import { chatChunk } from '../support/chat.js'
import { listen, startProxy, upstreamClients } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'
import { wire } from '../support/wire.js'

/** Of apps of their own, under paths that are also those of an API. */
const paths = ['/api/conversations/7/messages', '/api/completions', '/api/surveys/9/responses', '/news']
const own = [{ text: 'one' }, { text: 'two' }, { text: 'three' }, { text: 'four' }, { text: 'five' }]

/** What the client of a body under `path` gets through the guard, and the record. */
async function guarded(
  body: string,
  path: string,
  request: Parameters<typeof rawRequest>[0],
  parsed?: object,
) {
  const ends: StreamEnd[] = []
  const app = wrapApp(
    (_request: IncomingMessage, response: ServerResponse) => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' }).write(body)
      response.end()
    },
    { onEnd: (end) => ends.push(end) },
  )
  await using server = await listen((request, response) =>
    app(Object.assign(request, { body: parsed }), response),
  )
  using client = await rawRequest({ ...request, port: server.port, path }).finished()
  return { text: client.bodyText, end: ends[0] }
}

/** The body that the client of a whole stream gets, by a route and through the guard. */
async function whole(path: string, events: readonly unknown[]) {
  const ends: StreamEnd[] = []
  await using upstream = await startUpstream((exchange) =>
    exchange
      .open()
      .data(...events)
      .end(),
  )
  await using route = await startProxy(async (stream) =>
    stream.relay(await upstreamClients.http(upstream.url, stream)),
  )
  await using guarded = await listen(
    wrapApp(
      (_request, response) => {
        response.writeHead(200, { 'Content-Type': 'text/event-stream' }).write(wire(...events))
        response.end()
      },
      { onEnd: (end) => ends.push(end) },
    ),
  )
  using relayed = await rawRequest({ port: route.port, path, body: { stream: true } }).finished()
  using written = await rawRequest({ port: guarded.port, path, body: { stream: true } }).finished()
  return { relayed, written, ends: [await route.end(), ...ends] }
}

describe('a path is a guess until an event fits it', () => {
  test.each(paths.flatMap((path) => [1, 3, 4, 5].map((count) => [path, count] as const)))(
    '%s: %i events of the app’s own, and their end, are all there is',
    async (path, count) => {
      const events = own.slice(0, count)
      const { relayed, written, ends } = await whole(path, events)
      expect(relayed.bodyText).toBe(wire(...events))
      expect(written.bodyText).toBe(wire(...events))
      for (const end of ends) expect(end).toMatchObject({ outcome: 'completed', events: count })
    },
  )

  describe.each(['', ': hi\n\n', 'retry: 9\n\n'])('a stream of nothing but %j', (body) => {
    test.each<[string, Omit<Parameters<typeof rawRequest>[0], 'port'>, object?]>([
      ['a GET', { method: 'GET' }],
      ['a page’s EventSource', { method: 'GET', headers: { accept: 'text/event-stream' } }],
      ['a POST whose body asks for none', { body: {} }, { text: 'Hi' }],
    ])('may end, for %s', async (_what, request, parsed) => {
      for (const path of paths) {
        const { text, end } = await guarded(body, path, request as never, parsed)
        expect(text).toBe(body)
        expect(end).toMatchObject({ outcome: 'completed', events: 0 })
      }
    })

    test.each([
      ['asks for a stream', { stream: true }],
      ['may ask for a stream', undefined],
    ])('is cut short, for a POST that %s', async (_what, parsed) => {
      const { text, end } = await guarded(body, '/v1/messages', { body: {} } as never, parsed)
      expect(text.startsWith(body)).toBe(true)
      expect(text).toContain('event: error\n')
      expect(end).toMatchObject({ outcome: 'upstream_truncated' })
    })
  })

  test.each([
    ['/v1/chat/completions', chatChunk('Hi'), 'upstream_truncated'],
    ['/v1/chat/completions', { choices: [{ delta: { content: 'Hi' } }] }, 'upstream_truncated'],
    ['/v1/messages', { type: 'message_start', message: {} }, 'api_error'],
    ['/v1/messages', { type: 'content_block_delta', delta: {} }, 'api_error'],
    ['/v1/responses', { type: 'response.created', response: {} }, 'upstream_truncated'],
    // Under a path that says nothing.
    ['/api/chat', chatChunk('Hi'), 'upstream_truncated'],
  ])('%s: an event of its API, and nothing more, is cut short', async (path, event, code) => {
    const { relayed, written, ends } = await whole(path, [event])
    expect(relayed.bodyText).toContain(code)
    expect(written.bodyText).toContain(code)
    for (const end of ends) expect(end).toMatchObject({ outcome: 'upstream_truncated' })
  })

  test('one that breaks reports so as any stream does: with an error that SDKs read', async () => {
    await using upstream = await startUpstream((exchange) => exchange.open().data(own[0]).reset())
    await using route = await startProxy(async (stream) =>
      stream.relay(await upstreamClients.http(upstream.url, stream)),
    )
    using client = await rawRequest({ port: route.port, path: '/api/completions', body: {} }).finished()
    const last = client.events.at(-1)
    expect(last?.event).toBe('error')
    expect(JSON.parse(last?.data ?? '')).toMatchObject({
      error: { code: 'connection_reset' },
      code: 'connection_reset',
    })
  })
})
