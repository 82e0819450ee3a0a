import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { dialects, drainStreams, type StreamEnd } from '../../src/index.js'
import { liveStreams } from '../../src/server/live-streams.js'
import { getSignal, getStream, guardResponse, wrapApp } from '../../src/web/index.js'
import { chatAnswer, chatChunk, failureOf } from '../support/chat.js'
import { serveFetch } from '../support/fetch-server.js'
import { rawRequest } from '../support/raw-client.js'
import { type Script, startUpstream } from '../support/scripted-upstream.js'
import { expectWarning } from '../support/warnings.js'
import { wire } from '../support/wire.js'
import { withResolvers } from '../support/with-resolvers.js'

const eventStream = { 'content-type': 'text/event-stream' }
const encode = (text: string) => new TextEncoder().encode(text)

/** An upstream behind `fetch` and a guard, and one client of it. */
async function seen(script: Script, options: object = {}) {
  await using upstream = await startUpstream(script)
  await using server = await serveFetch(
    (onEnd) => async (request) =>
      guardResponse(await fetch(upstream.url, { method: 'POST', signal: request.signal }), {
        request,
        onEnd,
        ...options,
      }),
  )
  using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
  return { client, end: await server.end() }
}

describe('anything but an event stream is returned as it is, the same object', () => {
  const stream = () => new Blob([wire('hi', '[DONE]')]).stream()
  test.each<[string, () => Response, string?]>([
    ['JSON', () => Response.json({ a: 1 })],
    ['a text', () => new Response('data: hi\n\n')],
    ['bytes without a type', () => new Response(stream())],
    ['an event stream without a body', () => new Response(null, { headers: eventStream })],
    ['204', () => new Response(null, { status: 204, headers: eventStream })],
    ['304', () => new Response(null, { status: 304, headers: eventStream })],
    ['206', () => new Response(stream(), { status: 206, headers: eventStream })],
    ['an error status', () => new Response(stream(), { status: 500, headers: eventStream })],
    ['a response to HEAD', () => new Response(stream(), { headers: eventStream }), 'HEAD'],
  ])('%s', (_what, make, method = 'POST') => {
    const before = liveStreams().size
    const given = make()
    const request = new Request('http://localhost/v1/chat/completions', { method })
    expect(guardResponse(given, { request })).toBe(given)
    expect(given.bodyUsed).toBe(false)
    expect(liveStreams().size).toBe(before)
  })

  test('an event stream that is guarded already', async () => {
    const once = guardResponse(new Response(stream(), { headers: eventStream }))
    expect(guardResponse(once)).toBe(once)
    const again = new Response(once.body, once)
    expect(guardResponse(again)).toBe(again)
    expect(await again.text()).toBe(wire('hi', '[DONE]'))
  })
})

describe('a mistake shows at once', () => {
  test.each<[string, () => unknown, string]>([
    ['a promise', () => guardResponse(Promise.resolve() as never), 'a promise: await it first'],
    ['nothing', () => guardResponse(undefined as never), 'takes a Response, got undefined'],
    [
      'a context',
      () => guardResponse(new Response(), { request: { raw: new Request('http://a') } as never }),
      'did you mean its .raw?',
    ],
    [
      'an unknown option',
      () => guardResponse(new Response(), { heartbeatMs: 1 } as never),
      'did you mean writer.heartbeatMs?',
    ],
    [
      'headersAfterMs',
      () => guardResponse(new Response(), { writer: { headersAfterMs: 1 } as never }),
      'writer.headersAfterMs has no effect',
    ],
    [
      'a request id of two lines',
      () => guardResponse(new Response(), { requestId: 'a\nb' }),
      'requestId must be',
    ],
    [
      'a model that is none',
      () => guardResponse(new Response(), { model: 5 as never }),
      'model must be a text',
    ],
    ['a signal that is none', () => guardResponse(new Response(), { signal: 5 as never }), 'signal must be'],
  ])('%s', (_what, call, message) => {
    expect(call).toThrow(message)
  })

  test('a body that other code reads, or has read', async () => {
    const response = new Response(wire('hi'), { headers: eventStream })
    const reader = response.body?.getReader()
    expect(() => guardResponse(response)).toThrow('locked by another reader')
    reader?.releaseLock()
    await response.text()
    expect(() => guardResponse(response)).toThrow('has already been read')
  })
})

describe('a good stream', () => {
  test('arrives byte for byte, cut anywhere, with its comments', async () => {
    const bytes = `: hello\n\n${chatAnswer('é', '😀').map(dataLine).join('')}`.replace('\n\n', '\r\n\r\n')
    const { client, end } = await seen((exchange) => {
      exchange.open()
      for (const byte of Buffer.from(bytes)) exchange.chunk(Uint8Array.of(byte))
      exchange.end()
    })
    expect(client.bodyText).toBe(bytes)
    expect(end).toMatchObject({
      outcome: 'completed',
      sawTerminal: true,
      events: 4,
      bytes: Buffer.byteLength(bytes),
    })
  })

  test('keeps what the handler has set, and loses what would be a lie', async () => {
    const whole = wire(...chatAnswer('Hello'))
    await using server = await serveFetch(() => (request) => {
      const headers = new Headers({
        ...eventStream,
        'content-length': '3',
        etag: '"1"',
        connection: 'keep-alive',
        'transfer-encoding': 'chunked',
        'x-request-id': 'of-the-app',
        'cache-control': 'no-store',
      })
      headers.append('set-cookie', 'a=1')
      headers.append('set-cookie', 'b=2')
      return guardResponse(new Response(whole, { status: 201, headers }), { request })
    })
    using client = await rawRequest({ port: server.port, body: {} }).finished()
    expect(client.status).toBe(201)
    expect(client.header('x-request-id')).toBe('of-the-app')
    expect(client.header('cache-control')).toBe('no-store, no-transform')
    expect(client.header('etag')).toBeUndefined()
    expect(client.header('content-length')).not.toBe('3')
    expect(client.head.match(/^set-cookie: .*$/gim)).toEqual(['set-cookie: a=1', 'set-cookie: b=2'])
    expect(client.bodyText).toBe(whole)
  })

  test('that fetch has decoded is not said to be compressed', async () => {
    const gzipped = gzipSync(chatAnswer('Hello').map(dataLine).join(''))
    const { client, end } = await seen((exchange) => {
      exchange.socket.write(
        `HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\nContent-Length: ${gzipped.length}\r\n\r\n`,
      )
      exchange.socket.end(gzipped)
    })
    expect(client.header('content-encoding')).toBeUndefined()
    expect(client.data.at(-1)).toBe('[DONE]')
    expect(end).toMatchObject({ outcome: 'completed', usage: { source: 'counted' } })
  })

  test('that is compressed stays as it is, and is recorded', async () => {
    const warned = expectWarning(/a compressed event stream passes the guard/)
    const gzipped = gzipSync(wire('hi', '[DONE]'))
    await using server = await serveFetch((onEnd) => () => {
      const headers = { ...eventStream, 'content-encoding': 'gzip', etag: '"1"' }
      return guardResponse(new Response(gzipped, { headers }), { onEnd })
    })
    using client = await rawRequest({ port: server.port, body: {} }).finished()
    await warned
    expect(client.header('content-encoding')).toBe('gzip')
    expect(client.header('etag')).toBe('"1"')
    expect(client.body.bytes.equals(gzipped)).toBe(true)
    expect(await server.end()).toMatchObject({
      outcome: 'completed',
      bytes: gzipped.length,
      usage: undefined,
    })
  })

  test('of JSON lines keeps its type', async () => {
    const lines = '{"model":"m","message":{"content":"Hel"},"done":false}\n{"model":"m","done":true}\n'
    const { client, end } = await seen((exchange) => {
      exchange.open('Content-Type: application/x-ndjson').chunk(lines).end()
    })
    expect(client.header('content-type')).toBe('application/x-ndjson')
    expect(client.bodyText).toBe(lines)
    expect(end).toMatchObject({ outcome: 'completed', events: 2, sawTerminal: true })
  })
})

describe('a broken stream', () => {
  test('of JSON lines ends with an error line', async () => {
    const { client, end } = await seen((exchange) => {
      exchange
        .open('Content-Type: application/x-ndjson')
        .chunk('{"model":"m","message":{"content":"Hel"},"done":false}\n')
        .end()
    })
    expect(JSON.parse(client.bodyText.trim().split('\n').at(-1) ?? '')).toHaveProperty('error')
    expect(client.body.complete).toBe(true)
    expect(end.outcome).toBe('upstream_truncated')
  })

  test.each(Object.keys(dialects).filter((name) => !['gemini', 'plain', 'ollama', 'jsonRpc'].includes(name)))(
    'has an error event of its dialect: %s',
    async (dialect) => {
      const { client, end } = await seen((exchange) => exchange.open().chunk('data: {"a":1}\n\n').fin(), {
        dialect,
      })
      expect(end.outcome).toBe('upstream_hangup')
      expect(client.body.complete).toBe(true)
      const name = dialect as keyof typeof dialects
      const events = dialects[name].follow().failing(end.reason as never, end.reason?.message ?? '') ?? []
      expect(events.length).toBeGreaterThan(0)
      expect(client.data.at(-1)).toBe(dataOf(events.at(-1)?.data))
    },
  )

  test('ends with the error, not with the event that had begun', async () => {
    const { client } = await seen((exchange) =>
      exchange.open().data(chatChunk('Hello')).chunk('data: {"half').fin(),
    )
    expect(client.bodyText).not.toContain('half')
    expect(failureOf(client.data).code).toBe('connection_reset')
  })

  test('whose own handler has a bug says internal, and not that an upstream did it', async () => {
    await using server = await serveFetch((onEnd) => (request) => {
      const body = new ReadableStream({
        start: (controller) => controller.enqueue(encode(dataLine(chatChunk('Hello')))),
        pull() {
          throw new Error('password=hunter2')
        },
      })
      return guardResponse(new Response(body, { headers: eventStream }), { request, onEnd })
    })
    using client = await rawRequest({ port: server.port, body: {} }).finished()
    expect(failureOf(client.data).code).toBe('internal_error')
    expect(client.text).not.toContain('hunter2')
    expect((await server.end()).outcome).toBe('internal')
  })

  test('that its caller aborts is reported', async () => {
    const controller = new AbortController()
    await using server = await serveFetch((onEnd) => (request) => {
      const body = new ReadableStream({
        start: (each) => each.enqueue(encode(dataLine(chatChunk('Hello')))),
      })
      const { signal } = controller
      return guardResponse(new Response(body, { headers: eventStream }), { request, signal, onEnd })
    })
    using client = await rawRequest({ port: server.port, body: {} }).received('Hello')
    controller.abort()
    await client.finished()
    expect(client.body.complete).toBe(true)
    expect(failureOf(client.data).code).toBe((await server.end()).reason?.code)
  })
})

describe('the client', () => {
  const endless = (onCancel: (reason: unknown) => void) => {
    let pulls = 0
    const body = new ReadableStream({
      pull(controller) {
        pulls++
        controller.enqueue(encode(dataLine('x'.repeat(64 * 1024))))
      },
      cancel: onCancel,
    })
    return { body, pulls: () => pulls }
  }

  test('that reads slowly is waited for: no more is read than it takes', async () => {
    const { body, pulls } = endless(() => {})
    await using server = await serveFetch(
      (onEnd) => (request) => guardResponse(new Response(body, { headers: eventStream }), { request, onEnd }),
    )
    using client = rawRequest({ port: server.port, body: {} })
    client.socket.pause()
    // Nothing moves any more once two looks, a while apart, see the same.
    for (let before = -1; before !== pulls() || before === 0; ) {
      before = pulls()
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    expect(pulls()).toBeLessThan(500)
  })

  test('that reads nothing is cut off at clientStallMs, and its upstream is let go', async () => {
    const cancelled = withResolvers<unknown>()
    const { body } = endless(cancelled.resolve)
    await using server = await serveFetch(
      (onEnd) => (request) =>
        guardResponse(new Response(body, { headers: eventStream }), {
          request,
          onEnd,
          timeouts: { clientStallMs: 200 },
        }),
    )
    using client = rawRequest({ port: server.port, body: {} })
    client.socket.pause()
    expect(await server.end()).toMatchObject({ outcome: 'client_stalled', phase: 'clientStall' })
    await cancelled.promise
  })

  test('that cancels the body, with no request at hand, cancels the upstream', async () => {
    const cancelled = withResolvers<unknown>()
    const ended = withResolvers<StreamEnd>()
    const { body } = endless(cancelled.resolve)
    const response = guardResponse(new Response(body, { headers: eventStream }), { onEnd: ended.resolve })
    const reader = response.body?.getReader()
    await reader?.read()
    await reader?.cancel()
    expect(await ended.promise).toMatchObject({ outcome: 'client_gone', status: 200 })
    await cancelled.promise
  })

  test('that has left before there is a response costs its upstream nothing more', async () => {
    const cancelled = withResolvers<unknown>()
    const { body } = endless(cancelled.resolve)
    const request = new Request('http://localhost/', { signal: AbortSignal.abort() })
    guardResponse(new Response(body, { headers: eventStream }), { request })
    await cancelled.promise
  })

  test('without a reader has no heartbeats, and its deadlines pass all the same', async () => {
    const ended = withResolvers<StreamEnd>()
    const body = new ReadableStream({ start: (each) => each.enqueue(encode(dataLine(chatChunk('Hi')))) })
    guardResponse(new Response(body, { headers: eventStream }), {
      onEnd: ended.resolve,
      timeouts: { totalMs: 150, firstByteMs: 100, inactivityMs: 100, connectMs: 100, clientStallMs: 100 },
      writer: { heartbeatMs: 10 },
    })
    expect((await ended.promise).heartbeats).toBe(0)
  })
})

describe('wrapApp', () => {
  test('takes an app with a fetch of its own, and hands on what its server says besides', async () => {
    const app = {
      greeting: 'hello',
      fetch(_request: Request, name: string, more: { loud: boolean }) {
        return new Response(`${this.greeting} ${name}${more.loud ? '!' : ''}`)
      },
    }
    const wrapped = wrapApp(app)
    expect(await (await wrapped(new Request('http://localhost/'), 'you', { loud: true })).text()).toBe(
      'hello you!',
    )
    expect(() => wrapApp({} as never)).toThrow('app must be a fetch handler')
  })

  test('knows the stream of a request', async () => {
    const wrapped = wrapApp((request: Request) => {
      expect(getStream(request)?.requestId).toBe('abc')
      expect(getStream(request)?.deadlines.phase).toBe('firstByte')
      expect(getSignal(request).aborted).toBe(false)
      return new Response(wire('[DONE]'), { headers: eventStream })
    })
    const headers = { accept: 'text/event-stream', 'x-request-id': 'abc' }
    const response = await wrapped(new Request('http://localhost/', { headers }))
    expect(response.headers.get('x-request-id')).toBe('abc')
    expect(await response.text()).toBe(wire('[DONE]'))
  })

  test('lets go of a response that comes after its deadline', async () => {
    const cancelled = withResolvers<unknown>()
    const late = withResolvers<Response>()
    const wrapped = wrapApp(() => late.promise, { timeouts: { firstByteMs: 50 } })
    const response = await wrapped(
      new Request('http://localhost/', { headers: { accept: 'text/event-stream' } }),
    )
    expect(response.status).toBe(504)
    late.resolve(new Response(new ReadableStream({ cancel: cancelled.resolve }), { headers: eventStream }))
    await cancelled.promise
  })

  test('a failure of a request that wants no stream is left to the server', async () => {
    const ends: StreamEnd[] = []
    const wrapped = wrapApp(
      () => {
        throw new Error('a bug')
      },
      { onEnd: (end) => ends.push(end) },
    )
    await expect(wrapped(new Request('http://localhost/'))).rejects.toThrow('a bug')
    expect(ends).toEqual([])
  })

  test('leaves alone what skip says', async () => {
    const given = new Response(wire('[DONE]'), { headers: eventStream })
    const wrapped = wrapApp(() => given, { skip: ({ url }) => url.endsWith('/raw') })
    expect(await wrapped(new Request('http://localhost/raw'))).toBe(given)
  })

  test('one inside another is one guard', async () => {
    const ends: StreamEnd[] = []
    const onEnd = (end: StreamEnd) => ends.push(end)
    const inner = wrapApp(() => new Response(wire('hi', '[DONE]'), { headers: eventStream }), { onEnd })
    const response = await wrapApp(inner, { onEnd })(new Request('http://localhost/'))
    expect(await response.text()).toBe(wire('hi', '[DONE]'))
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
    expect(ends).toHaveLength(1)
  })
})

test('a server that shuts down drains nothing of a fetch handler that has no server', async () => {
  await using server = await serveFetch(() => () => new Response())
  const before = liveStreams().size
  const response = guardResponse(new Response(new ReadableStream(), { headers: eventStream }))
  expect(liveStreams().size).toBe(before + 1)
  const { createServer } = await import('node:http')
  expect(await drainStreams(createServer().listen(0), { graceMs: 10 })).toEqual({
    finished: 0,
    reported: 0,
    forced: 0,
  })
  expect(server.port).toBeGreaterThan(0)
  await response.body?.cancel()
})

function dataLine(event: unknown): string {
  return `data: ${dataOf(event)}\n\n`
}

function dataOf(data: unknown): string {
  return typeof data === 'string' ? data : JSON.stringify(data)
}
