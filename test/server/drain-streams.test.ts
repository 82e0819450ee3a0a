import { once } from 'node:events'
import { createServer, request as httpRequest, type Server, type ServerResponse } from 'node:http'
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { describe, expect, test, vi } from 'vitest'
import {
  type DrainOptions,
  drainStreams,
  handleStream,
  type StreamResponse,
  wrapApp,
} from '../../src/index.js'
import { chatAnswer, chatChunk, failureOf, textOf } from '../support/chat.js'
import { answerNaively } from '../support/mounts.js'
import { upstreamClients } from '../support/proxy.js'
import { RawClient, rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'

async function listening(server: Server) {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** A proxy with one stream under way, written the unhang way or guarded. */
async function liveProxy(kind: 'handleStream' | 'the guard') {
  const upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')))
  const server = createServer(
    kind === 'handleStream'
      ? (_request, response) => {
          void handleStream(response, async (stream) =>
            stream.relay(await upstreamClients.http(upstream.url, stream)),
          )
        }
      : wrapApp((request, response) => answerNaively({ stream: true }, upstream.url, request, response)),
  )
  const port = await listening(server)
  const client = await rawRequest({ port, body: { stream: true } }).received('Hel')
  return {
    upstream,
    server,
    port,
    client,
    drain: (options: DrainOptions) => drainStreams(server, options),
    async [Symbol.asyncDispose]() {
      client[Symbol.dispose]()
      server.closeAllConnections()
      server.close()
      await upstream[Symbol.asyncDispose]()
    },
  }
}

describe.each(['handleStream', 'the guard'] as const)('FM-34: %s', (kind) => {
  test('a live stream finishes; nothing new is taken meanwhile', async () => {
    await using live = await liveProxy(kind)
    const closed = once(live.server, 'close')
    const report = live.drain({ graceMs: 10_000 })
    const late = new RawClient(live.port)
    expect((await late.closed()).text).toBe('')
    ;(await live.upstream.exchange(0)).data(chatChunk('lo'), chatChunk('', 'stop'), '[DONE]').end()
    await live.client.closed()
    expect(textOf(live.client.data)).toBe('Hello')
    expect(live.client.data.at(-1)).toBe('[DONE]')
    expect(live.client.ending).toBe('fin')
    expect(await report).toEqual({ finished: 1, reported: 0, forced: 0 })
    await closed
  })

  test('one that does not finish gets the error, and sees the end, not a reset', async () => {
    await using live = await liveProxy(kind)
    const report = live.drain({ graceMs: 50 })
    await live.client.closed()
    expect(failureOf(live.client.data).code).toBe('server_shutting_down')
    expect(live.client.body.complete).toBe(true)
    expect(live.client.ending).toBe('fin')
    expect(await report).toEqual({ finished: 0, reported: 1, forced: 0 })
    await (await live.upstream.exchange(0)).closed
  })

  test('one whose client does not read even that is cut', async () => {
    const responses: ServerResponse[] = []
    const server = createServer((_request, response) => {
      responses.push(response)
      const write = () => response.write(`data: ${'x'.repeat(64 * 1024)}\n\n`)
      if (kind === 'handleStream') {
        void handleStream(response, async ({ writer }) => {
          for (;;) await writer.write({ data: 'x'.repeat(64 * 1024) })
        })
        return
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      for (let writes = 0; writes < 150; writes++) write()
    })
    if (kind === 'the guard') {
      const [listener] = server.listeners('request') as [Parameters<typeof wrapApp>[0]]
      server.removeAllListeners('request').on('request', wrapApp(listener))
    }
    const client = new RawClient(await listening(server))
    client.send({ path: '/events' }).socket.pause()
    await once(server, 'request')
    await vi.waitUntil(() => responses.some(({ writableNeedDrain }) => writableNeedDrain))
    expect(await drainStreams(server, { graceMs: 20, forceMs: 50 })).toEqual({
      finished: 0,
      reported: 0,
      forced: 1,
    })
    client[Symbol.dispose]()
  })
})

test('one whose client has its ending is finished, though its upstream, which is piped, goes on', async () => {
  await using upstream = await startUpstream((exchange) => exchange.open().data(...chatAnswer('Hi')))
  const server = createServer(
    wrapApp((_request, response) => {
      httpRequest(upstream.url, (answer) => {
        response.setHeader('content-type', 'text/event-stream')
        answer.pipe(response)
      }).end()
    }),
  )
  using client = await rawRequest({ port: await listening(server), body: { stream: true } }).received(
    '[DONE]',
  )
  const report = { finished: 1, reported: 0, forced: 0 }
  expect(await drainStreams(server, { graceMs: 20, forceMs: 5_000 })).toEqual(report)
  await client.finished()
  expect(client.data.at(-1)).toBe('[DONE]')
  expect(client.body.complete).toBe(true)
})

test('a client that does not read is cut alone: a download beside it goes on', async () => {
  let finish = () => {}
  const server = createServer((request, response) => {
    if (request.url === '/download') {
      response.write('12345')
      finish = () => void response.end('67890')
      return
    }
    void handleStream(response, async ({ writer }) => {
      for (;;) await writer.write({ data: 'x'.repeat(64 * 1024) })
    })
  })
  const port = await listening(server)
  using stalled = new RawClient(port)
  stalled.send({ path: '/events' }).socket.pause()
  using download = await rawRequest({ port, path: '/download' }).received('12345')
  expect(await drainStreams(server, { graceMs: 20, forceMs: 50 })).toMatchObject({ forced: 1 })
  finish()
  await download.finished()
  expect(download.bodyText).toBe('1234567890')
  expect(download.body.complete).toBe(true)
  stalled.socket.resume()
  await stalled.closed()
  expect(stalled.body.complete).toBe(false)
})

test('every call gets the same report', async () => {
  await using live = await liveProxy('handleStream')
  const first = live.drain({ graceMs: 20 })
  expect(live.drain({ graceMs: 10_000 })).toBe(first)
  expect(await first).toMatchObject({ reported: 1 })
})

test.each([
  ['/v1/chat/completions', 503],
  ['/json', 200],
])(
  'FM-35: %s, asked for on a connection that was open, is %i, and the connection closed',
  async (path, status) => {
    await using upstream = await startUpstream((exchange) =>
      exchange
        .open()
        .data(...chatAnswer('Hi'))
        .end(),
    )
    const server = createServer((request, response) => {
      if (request.url === '/json') response.end('{}')
      else
        void handleStream(response, async (stream) =>
          stream.relay(await upstreamClients.http(upstream.url, stream)),
        )
    })
    using client = new RawClient(await listening(server))
    // A request whose head is not complete keeps the connection from counting as idle.
    client.socket.write(`POST ${path} HTTP/1.1\r\nHost: x\r\n`)
    const [socket] = await once(server, 'connection')
    await vi.waitUntil(() => socket.bytesRead > 0)
    const report = drainStreams(server, { graceMs: 5_000 })
    client.socket.write('Content-Length: 0\r\n\r\n')
    await client.closed()
    expect(client.status).toBe(status)
    expect(client.header('connection')).toBe('close')
    if (status === 503) expect(client.header('retry-after')).toBe('5')
    expect(client.ending).toBe('fin')
    expect(await report).toEqual({ finished: 0, reported: 0, forced: 0 })
  },
)

test('a response under way that is not a stream may finish, too', async () => {
  const order: string[] = []
  const server = createServer(async (_request, response) => {
    await new Promise((resolve) => setTimeout(resolve, 200))
    response.end('{}', () => order.push('answered'))
  })
  using client = rawRequest({ port: await listening(server) })
  await once(server, 'request')
  const report = drainStreams(server, { graceMs: 5_000 }).then(() => order.push('drained'))
  await client.finished()
  expect(client.bodyText).toBe('{}')
  await client.closed()
  await report
  expect(order).toEqual(['answered', 'drained'])
})

test('another server of the process goes on', async () => {
  await using draining = await liveProxy('handleStream')
  await using other = await liveProxy('handleStream')
  await draining.drain({ graceMs: 20 })
  ;(await other.upstream.exchange(0)).data(chatChunk('', 'stop'), '[DONE]').end()
  await other.client.finished()
  expect(other.client.data.at(-1)).toBe('[DONE]')
})

test('HTTP/2: a live stream gets the error, and its session ends', async () => {
  const server = createHttp2Server((_request, response) => {
    void handleStream(response as StreamResponse, async ({ writer, signal }) => {
      await writer.write({ data: chatChunk('Hi') })
      await once(signal, 'abort')
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const session = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  const stream = session.request({ ':path': '/v1/chat/completions', ':method': 'POST' }).setEncoding('utf8')
  let text = ''
  stream.on('data', (chunk) => {
    text += chunk
  })
  await once(stream, 'data')
  stream.end()
  const ended = once(stream, 'end')
  const closed = once(session, 'close')
  expect(await drainStreams(server, { graceMs: 20 })).toMatchObject({ reported: 1, forced: 0 })
  await ended
  expect(text).toContain('server_shutting_down')
  await closed
})

test('bad options are named', () => {
  expect(() => drainStreams(createServer(), { graceMs: -1 })).toThrow('graceMs must be')
})
