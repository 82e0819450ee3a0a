import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import {
  connect as connectHttp2,
  createServer as createHttp2Server,
  type Http2ServerResponse,
} from 'node:http2'
import type { AddressInfo } from 'node:net'
import compression from 'compression'
import express from 'express'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { ResponseWriter } from '../../src/client/response-writer.js'
import { checkWriterOptions, type SSEWriterObserver } from '../../src/client/sse-writer-options.js'
import {
  createSSEWriter,
  isStreamError,
  type SSEWriter,
  type SSEWriterOptions,
  type StreamResponse,
} from '../../src/index.js'
import { listen } from '../support/proxy.js'
import { RawClient, rawRequest } from '../support/raw-client.js'
import { withResolvers } from '../support/with-resolvers.js'

afterEach(() => vi.useRealTimers())

/** A server that gives each response to a writer, and the test the writer. */
async function writerServer(
  use: (writer: SSEWriter, response: ServerResponse) => unknown,
  options?: SSEWriterOptions,
) {
  return listen((_request, response) => void use(createSSEWriter(response, options), response))
}

/** The same with an observer, which the library itself is. */
async function observedServer(
  use: (writer: SSEWriter, response: ServerResponse) => unknown,
  observer: SSEWriterObserver,
  options: SSEWriterOptions = {},
) {
  const settings = checkWriterOptions(options, [])
  return listen(
    (_request, response) => void use(new ResponseWriter(response, settings, { observer }), response),
  )
}

describe('the head', () => {
  test('is sent with the first event, in one write with it', async () => {
    await using server = await writerServer((writer) => {
      expect(writer.headersSent).toBe(false)
      void writer.write({ data: 'x' })
      writer.close()
    })
    using client = await rawRequest({ port: server.port }).finished()
    expect(client.header('content-type')).toBe('text/event-stream; charset=utf-8')
    expect(client.header('cache-control')).toBe('no-cache, no-transform')
    expect(client.header('keep-alive')).toBe('timeout=5')
    expect(client.data).toEqual(['x'])
    expect(client.body.complete).toBe(true)
  })

  test('open() sends it at once', async () => {
    await using server = await writerServer((writer) => writer.open())
    using client = await rawRequest({ port: server.port }).received('\r\n\r\n')
    expect(client.status).toBe(200)
    expect(client.bodyText).toBe('')
  })

  test('FM-36: an app that wrote Connection: keep-alive still announces its timeout', async () => {
    await using server = await listen((_request, response) => {
      response.setHeader('Connection', 'keep-alive')
      createSSEWriter(response).close({ data: 'x' })
    })
    using client = await rawRequest({ port: server.port }).finished()
    expect(client.header('keep-alive')).toBe('timeout=5')
    using closing = await rawRequest({ port: server.port, headers: { Connection: 'close' } }).closed()
    expect(closing.header('connection')).toBe('close')
    expect(closing.ending).toBe('fin')
  })

  test('HTTP/1.0: no chunk framing, and the end of the connection is the end', async () => {
    await using server = await writerServer((writer) => writer.close({ data: 'x' }))
    using client = await rawRequest({
      port: server.port,
      httpVersion: '1.0',
      headers: { Connection: 'keep-alive' },
    }).closed()
    expect(client.header('connection')).toBe('close')
    expect(client.header('transfer-encoding')).toBeUndefined()
    expect(client.bodyText).toBe('data: x\n\n')
    expect(client.ending).toBe('fin')
  })

  test('compression() in front holds nothing back', async () => {
    const app = express().use(compression())
    let more: () => void = () => {}
    app.post('/', (_request, response) => {
      const writer = createSSEWriter(response)
      void writer.write({ data: 'first' })
      more = () => writer.close({ data: 'last' })
    })
    await using server = await listen(app)
    using client = rawRequest({ port: server.port, path: '/', headers: { 'Accept-Encoding': 'gzip' } })
    await client.received('first')
    expect(client.header('content-encoding')).toBeUndefined()
    more()
    await client.finished()
    expect(client.data).toEqual(['first', 'last'])
  })

  test('compression() that compresses all the same is made to let go of each event', async () => {
    const app = express().use(compression({ filter: () => true }))
    app.post('/', (_request, response) => {
      // What no-transform would prevent.
      Object.defineProperty(response, 'getHeader', { value: () => undefined })
      void createSSEWriter(response).write({ data: 'first' })
    })
    await using server = await listen(app)
    using client = rawRequest({ port: server.port, path: '/', headers: { 'Accept-Encoding': 'gzip' } })
    await client.until(() => client.body.bytes.length > 10)
  })
})

describe('writing', () => {
  test('events of one turn share one write; none is split', async () => {
    await using server = await writerServer((writer, response) => {
      const write = vi.spyOn(response, 'write')
      for (const data of ['a', 'b', 'c']) void writer.write({ data })
      setImmediate(() => {
        expect(write).toHaveBeenCalledTimes(1)
        writer.close({ data: 'd' })
      })
    })
    using client = await rawRequest({ port: server.port }).finished()
    expect(client.data).toEqual(['a', 'b', 'c', 'd'])
  })

  test('an event that cannot be encoded throws, and leaves no trace', async () => {
    await using server = await writerServer((writer) => {
      expect(() => writer.write({ data: undefined })).toThrow(TypeError)
      expect(() => writer.write({ data: 'x', id: 'a\nb' })).toThrow(TypeError)
      expect(() => writer.close({ data: 1n })).toThrow(TypeError)
      writer.close({ data: 'fine' })
    })
    using client = await rawRequest({ port: server.port }).finished()
    expect(client.bodyText).toBe('data: fine\n\n')
  })

  test('waits for a client that does not read, and goes on when it does', async () => {
    let written = 0
    let full: () => void = () => {}
    const isFull = new Promise<void>((resolve) => {
      full = resolve
    })
    const total = 400
    await using server = await observedServer(
      async (writer) => {
        for (; written < total; written++) await writer.write({ data: 'x'.repeat(64 * 1024) })
        writer.close()
      },
      { onDrainStart: () => full() },
    )
    using client = rawRequest({ port: server.port })
    client.socket.pause()
    await isFull
    expect(written).toBeLessThan(total)
    client.socket.resume()
    await client.finished()
    expect(client.data).toHaveLength(total)
  })

  test.each<[string, (writer: SSEWriter, large: string) => Promise<void>]>([
    ['write', (writer, large) => writer.write({ data: large })],
    ['forward', (writer, large) => writer.forward(`data: ${large}\n\n`)],
  ])(
    'a connection that has broken is reported by the next %s, and not only by an event that comes later',
    async (_name, send) => {
      const outcome = withResolvers<unknown>()
      await using server = await writerServer(async (writer, response) => {
        await writer.write({ data: 'x' })
        await new Promise(setImmediate)
        response.socket?.destroy()
        outcome.resolve(await send(writer, 'x'.repeat(32 * 1024)).catch((error: unknown) => error))
      })
      using client = rawRequest({ port: server.port })
      await client.closed()
      expect(await outcome.promise).toMatchObject({ outcome: 'client_gone' })
    },
  )

  test('to write on into a response that was ended elsewhere lets others have their turn', async () => {
    const turns = withResolvers<number>()
    await using server = await writerServer(async (writer, response) => {
      await writer.write({ data: 'x' })
      response.end()
      let others = 0
      setImmediate(() => others++)
      for (let writes = 0; writes < 100 && others === 0; writes++) {
        await writer.write({ data: 'x'.repeat(32 * 1024) }).catch(() => {})
      }
      turns.resolve(others)
    })
    using client = await rawRequest({ port: server.port }).finished()
    expect(client.data).toEqual(['x'])
    expect(await turns.promise).toBe(1)
  })

  test('a write that waits settles when the client leaves', async () => {
    const outcome = withResolvers<unknown>()
    await using server = await writerServer(async (writer) => {
      try {
        for (;;) await writer.write({ data: 'x'.repeat(64 * 1024) })
      } catch (error) {
        outcome.resolve(error)
      }
    })
    using client = rawRequest({ port: server.port })
    client.socket.pause()
    await once(client.socket, 'connect')
    setImmediate(() => client.reset())
    expect(await outcome.promise).toMatchObject({ outcome: 'client_gone' })
  })

  test('a write without an await is not an unhandled rejection', async () => {
    const controller = new AbortController()
    await using server = await writerServer(
      (writer) => {
        controller.abort(new Error('stop'))
        void writer.write({ data: 'refused' })
        writer.close({ data: 'last' })
      },
      { signal: controller.signal },
    )
    using client = await rawRequest({ port: server.port }).finished()
    expect(client.data).toEqual(['last'])
  })

  test('after close() nothing is written, and a second close() is none', async () => {
    const refused = withResolvers<unknown>()
    await using server = await writerServer((writer) => {
      writer.close({ data: 'last' })
      writer.close({ data: 'again' })
      writer.write({ data: 'late' }).catch(refused.resolve)
    })
    using client = await rawRequest({ port: server.port }).finished()
    expect(client.data).toEqual(['last'])
    expect(isStreamError(await refused.promise)).toBe(true)
  })

  test('text in any script and any cut arrives as it was', async () => {
    const text = 'é😀漢字\u2028'.repeat(10_000)
    await using server = await writerServer((writer) => writer.close({ data: { text } }))
    using client = await rawRequest({ port: server.port }).finished()
    expect(JSON.parse(client.data[0] ?? '')).toEqual({ text })
  })
})

describe('heartbeats', () => {
  /** The clock is the test's; the sockets are real. */
  function fakeClock() {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  }

  test('come when the stream was silent for the whole interval, as comment lines', async () => {
    fakeClock()
    const opened = withResolvers<SSEWriter>()
    await using server = await writerServer((writer) => opened.resolve(writer), {
      heartbeatMs: 10_000,
      headersAfterMs: 5_000,
    })
    using client = rawRequest({ port: server.port })
    const writer = await opened.promise
    vi.advanceTimersByTime(4_999)
    expect(writer.headersSent).toBe(false)
    vi.advanceTimersByTime(1)
    expect(writer.headersSent).toBe(true)
    vi.advanceTimersByTime(9_000)
    await writer.write({ data: 'x' })
    await client.received('data: x')
    vi.advanceTimersByTime(9_000)
    expect(writer.heartbeats).toBe(1)
    vi.advanceTimersByTime(1_000)
    expect(writer.heartbeats).toBe(2)
    await client.until(() => client.bodyText === ':\n\ndata: x\n\n:\n\n')
    writer.close()
    expect(vi.getTimerCount()).toBe(0)
  })

  test('by default come after 10 s, with the head, and then after each 15 s of silence', async () => {
    expect(checkWriterOptions({}, [])).toMatchObject({ headersAfterMs: 10_000, heartbeatMs: 15_000 })
    fakeClock()
    const opened = withResolvers<SSEWriter>()
    await using server = await writerServer((writer) => opened.resolve(writer))
    using client = rawRequest({ port: server.port })
    const writer = await opened.promise
    // At 10, 25 and 40 s.
    for (const [beats, silentMs] of [10_000, 15_000, 15_000].entries()) {
      vi.advanceTimersByTime(silentMs - 1)
      expect([writer.heartbeats, writer.headersSent]).toEqual([beats, beats > 0])
      vi.advanceTimersByTime(1)
      expect([writer.heartbeats, writer.headersSent]).toEqual([beats + 1, true])
    }
    await client.until(() => client.bodyText === ':\n\n'.repeat(3))
    writer.close()
  })

  test('are held back while the client does not read', async () => {
    fakeClock()
    const full = withResolvers<void>()
    const opened = withResolvers<SSEWriter>()
    await using server = await observedServer(
      (writer) => opened.resolve(writer),
      { onDrainStart: full.resolve },
      { heartbeatMs: 10_000 },
    )
    using client = rawRequest({ port: server.port })
    client.socket.pause()
    const writer = await opened.promise
    void writer.write({ data: 'x'.repeat(16 * 1024 * 1024) })
    await full.promise
    const before = writer.bytes
    vi.advanceTimersByTime(60_000)
    expect(writer.heartbeats).toBe(0)
    expect(writer.bytes).toBe(before)
    client.socket.resume()
    await client.received('\n\n')
    vi.advanceTimersByTime(10_000)
    await client.until(() => client.bodyText.endsWith('\n\n:\n\n'))
  })

  test('heartbeatMs: Infinity sends none, and the head all the same', async () => {
    fakeClock()
    const opened = withResolvers<SSEWriter>()
    await using server = await writerServer((writer) => opened.resolve(writer), {
      heartbeatMs: Number.POSITIVE_INFINITY,
    })
    using client = rawRequest({ port: server.port })
    const writer = await opened.promise
    vi.advanceTimersByTime(3_600_000)
    await client.received('\r\n\r\n')
    expect(client.bodyText).toBe('')
    expect(writer.heartbeats).toBe(0)
  })
})

describe('the client leaves', () => {
  test('the signal aborts, and says why', async () => {
    const opened = withResolvers<SSEWriter>()
    await using server = await writerServer((writer) => opened.resolve(writer))
    using client = rawRequest({ port: server.port })
    const { signal } = await opened.promise
    const aborted = once(signal, 'abort')
    client.reset()
    await aborted
    expect(signal.reason).toMatchObject({ outcome: 'client_gone' })
  })

  test('a writer made too late knows at once', async () => {
    const late = withResolvers<SSEWriter>()
    await using server = await listen(async (_request, response) => {
      await once(response, 'close')
      late.resolve(createSSEWriter(response))
    })
    using client = rawRequest({ port: server.port })
    await once(client.socket, 'connect')
    client.reset()
    const writer = await late.promise
    expect(writer.signal.aborted).toBe(true)
    await expect(writer.write({ data: 'x' })).rejects.toMatchObject({ outcome: 'client_gone' })
    writer.close({ data: 'x' })
  })

  test('a client that closes after the end has not left', async () => {
    let left = false
    const closed = withResolvers<void>()
    await using server = await observedServer(
      (writer, response) => {
        response.once('close', closed.resolve)
        writer.close({ data: 'x'.repeat(4 * 1024 * 1024) })
      },
      {
        onDisconnect: () => {
          left = true
        },
      },
    )
    using client = rawRequest({ port: server.port })
    await client.received('data')
    client.reset()
    await closed.promise
    expect(left).toBe(false)
  })
})

describe('HTTP/2', () => {
  async function http2Server(use: (writer: SSEWriter, response: Http2ServerResponse) => unknown) {
    const server = createHttp2Server(
      (_request, response) => void use(createSSEWriter(response as StreamResponse), response),
    )
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const session = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    return {
      session,
      async [Symbol.asyncDispose]() {
        session.destroy()
        server.close()
        await once(server, 'close')
      },
    }
  }

  test('FM-37: a stream with no connection headers', async () => {
    await using server = await http2Server(async (writer) => {
      await writer.write({ data: 'a' })
      writer.close({ data: 'b' })
    })
    const stream = server.session.request({ ':method': 'POST', ':path': '/' }).setEncoding('utf8')
    const [headers] = (await once(stream, 'response')) as [Record<string, unknown>]
    expect(headers).toMatchObject({ ':status': 200, 'content-type': 'text/event-stream; charset=utf-8' })
    for (const name of ['connection', 'keep-alive', 'transfer-encoding'])
      expect(headers).not.toHaveProperty(name)
    let text = ''
    for await (const chunk of stream) text += chunk
    expect(text).toBe('data: a\n\ndata: b\n\n')
  })

  test('connection headers of an app are left out', async () => {
    const server = createHttp2Server((_request, response) => {
      createSSEWriter(response as StreamResponse, { headers: { 'Keep-Alive': 'timeout=5' } }).close({
        data: 'x',
      })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const session = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    const stream = session.request({ ':path': '/' }).setEncoding('utf8')
    let text = ''
    for await (const chunk of stream) text += chunk
    expect(text).toBe('data: x\n\n')
    session.destroy()
    server.close()
  })

  test('FM-38: a client that resets has left', async () => {
    const opened = withResolvers<SSEWriter>()
    await using server = await http2Server((writer) => {
      void writer.write({ data: 'a' })
      opened.resolve(writer)
    })
    const stream = server.session.request({ ':method': 'POST', ':path': '/' })
    stream.on('error', () => {})
    const { signal } = await opened.promise
    const aborted = once(signal, 'abort')
    stream.close(8)
    await aborted
    expect(signal.reason).toMatchObject({ outcome: 'client_gone' })
  })

  test('waits for a client that does not read', async () => {
    let written = 0
    const done = withResolvers<void>()
    await using server = await http2Server(async (writer) => {
      for (; written < 100; written++) await writer.write({ data: 'x'.repeat(64 * 1024) })
      writer.close()
      done.resolve()
    })
    const stream = server.session.request({ ':method': 'POST', ':path': '/' })
    await once(stream, 'response')
    expect(written).toBeLessThan(100)
    stream.resume()
    await done.promise
  })
})

describe('failures around it', () => {
  test('a head that cannot be sent stops the stream, not the process', async () => {
    const stopped = withResolvers<unknown>()
    await using server = await listen((_request, response) => {
      const writer = createSSEWriter(response)
      Object.assign(response, {
        writeHead: () => {
          throw new Error('a hook of the app')
        },
      })
      writer.signal.addEventListener('abort', () => stopped.resolve(writer.signal.reason))
      void writer.write({ data: 'x' })
    })
    using _client = rawRequest({ port: server.port })
    expect(await stopped.promise).toMatchObject({ outcome: 'internal' })
  })

  test('nothing is written into a response that is not an event stream', async () => {
    const refused = withResolvers<unknown>()
    await using server = await listen(async (_request, response) => {
      const writer = createSSEWriter(response, { headersAfterMs: 10, heartbeatMs: 10 })
      response.writeHead(200, { 'content-type': 'application/json' })
      response.write('{"a":')
      await new Promise((resolve) => setTimeout(resolve, 60))
      await writer.write({ data: 'x' }).catch(refused.resolve)
      response.end('1}')
    })
    using client = await rawRequest({ port: server.port }).finished()
    expect(client.bodyText).toBe('{"a":1}')
    expect(await refused.promise).toMatchObject({ message: 'Other code is already sending this response.' })
  })

  test('a signal that lives on is left without a listener', async () => {
    const controller = new AbortController()
    const added = vi.spyOn(controller.signal, 'addEventListener')
    const removed = vi.spyOn(controller.signal, 'removeEventListener')
    const closed = withResolvers()
    await using server = await listen((_request, response) => {
      createSSEWriter(response, { signal: controller.signal }).close({ data: 'x' })
      response.once('close', closed.resolve)
    })
    using _client = await rawRequest({ port: server.port }).finished()
    await closed.promise
    await new Promise(setImmediate)
    expect(removed.mock.calls.length).toBe(added.mock.calls.length)
  })

  test('a late error of the response ends nothing', async () => {
    await using server = await writerServer((writer, response) => {
      writer.close({ data: 'x' })
      response.emit('error', new Error('late'))
    })
    using client = await rawRequest({ port: server.port }).finished()
    expect(client.data).toEqual(['x'])
  })

  test('of two pipelined requests the second knows too that the client has left', async () => {
    const signals: AbortSignal[] = []
    const both = withResolvers()
    await using server = await writerServer((writer) => {
      if (signals.push(writer.signal) === 2) both.resolve()
    })
    using client = new RawClient(server.port)
    client.send({ path: '/a' }).send({ path: '/b' })
    await both.promise
    const aborted = Promise.all(signals.map((signal) => once(signal, 'abort')))
    client.reset()
    await aborted
  })

  test('an unread body does not stand in the way of the next request', async () => {
    await using server = await writerServer((writer) => writer.close({ data: 'x' }))
    using client = await rawRequest({ port: server.port, body: 'x'.repeat(3_000_000) }).finished()
    client.send({})
    await client.until(() => client.text.split('data: x').length === 3)
  })

  test('a body that the handler reads later is all there', async () => {
    await using server = await listen(async (request, response) => {
      const writer = createSSEWriter(response, { headersAfterMs: 10 })
      await new Promise((resolve) => setTimeout(resolve, 50))
      let length = 0
      for await (const chunk of request) length += chunk.length
      writer.close({ data: length })
    })
    using client = await rawRequest({ port: server.port, body: 'x'.repeat(100_000) }).finished()
    expect(client.data).toEqual(['100000'])
  })
})

describe('bad options are named, with their value', () => {
  test.each<[SSEWriterOptions, string]>([
    [
      { heartbeatMs: 0 },
      'writer.heartbeatMs must be a number of milliseconds above 0, or false or Infinity for never; got 0',
    ],
    [{ heartbeatMs: Number.NaN }, 'writer.heartbeatMs'],
    [
      { headersAfterMs: '5' as never },
      'writer.headersAfterMs must be a number of milliseconds above 0, or false or Infinity for never; got "5"',
    ],
    [{ maxBufferedBytes: -1 }, 'writer.maxBufferedBytes must be a number above 0, got -1'],
    [{ headers: { 'bad name': 'x' } }, 'bad name'],
    [{ headers: { name: 'a\r\nb' } }, 'writer.headers: invalid HTTP header "name": "a\\r\\nb"'],
    [{ cors: 'https://a' as never }, 'writer.cors must be true, false or a list of origins, got "https://a"'],
    [{ cors: ['a b'] }, 'got ["a b"]'],
  ])('%j', async (options, message) => {
    await using server = await listen((_request, response) => {
      expect(() => createSSEWriter(response, options)).toThrow(message)
      response.end()
    })
    using client = await rawRequest({ port: server.port }).finished()
    expect(client.status).toBe(200)
  })
})
