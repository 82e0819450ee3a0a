import type { ServerResponse } from 'node:http'
import { PassThrough, Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { describe, expect, test, vi } from 'vitest'
import { dialects, getSignal, type StreamDialect, wrapApp } from '../../src/index.js'
import { liveStreams } from '../../src/server/live-streams.js'
import { chatChunk } from '../support/chat.js'
import { guarded, type Handler } from '../support/guarded.js'
import { serveHttp2 } from '../support/mounts.js'
import { listen, startProxy, upstreamClients } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'
import { expectWarning } from '../support/warnings.js'
import { eventStream, wire } from '../support/wire.js'

/** The response to a request that wants a stream, without the guard and behind it. */
async function both(handler: Handler) {
  const seen = []
  for (const serve of [listen, guarded]) {
    await using server = await serve(handler as never)
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    const head = client.head.replace(/^date: .*\r\n/im, '')
    seen.push({ head, body: client.body.bytes.toString('latin1') })
  }
  return seen
}

describe('a response to a request that wants a stream, which is none, keeps its head and its body', () => {
  const gzipped = gzipSync(wire('hi', '[DONE]'))
  test.each<[string, Handler]>([
    ['a text', (_, response) => response.end('ok')],
    ['nothing', (_, response) => response.end()],
    ['JSON without a type', (_, response) => response.end('{"a":1}')],
    ['a list of JSON without a type', (_, response) => response.end('[1]')],
    ['a status that says created', (_, response) => Object.assign(response, { statusCode: 201 }).end('ok')],
    ['writeHead and a text', (_, response) => response.writeHead(200).end('ok')],
    ['a text that begins as a comment does', (_, response) => response.end(':) hi there')],
    ['a text that begins as a field does', (_, response) => response.end('data:image/png;base64,AAAA')],
    ['lines of names and values', (_, response) => response.end('event: launch\nplace: here')],
    ['bytes', (_, response) => response.end(Buffer.from([1, 2, 3]))],
    ['a file in pieces', (_, response) => Readable.from([Buffer.from('a'), Buffer.from('b')]).pipe(response)],
  ])('%s', async (_what, handler) => {
    const [bare, behind] = await both(handler)
    expect(behind).toEqual(bare)
  })

  test('compressed events: their encoding, too', async () => {
    const warned = expectWarning(/a compressed event stream passes the guard/)
    const [bare, behind] = await both((_, response) => {
      response.writeHead(200, { ...eventStream, 'Content-Encoding': 'gzip', ETag: '"1"' }).end(gzipped)
    })
    await warned
    expect(behind).toEqual(bare)
  })
})

describe('a head that the handler sends now is sent now', () => {
  test.each<[string, (response: ServerResponse) => unknown]>([
    ['writeHead and flushHeaders', (response) => response.writeHead(200, eventStream).flushHeaders()],
    ['flushHeaders without a type', (response) => response.flushHeaders()],
    ['writeHead without a type, and flushHeaders', (response) => response.writeHead(200).flushHeaders()],
    ['writeHead without a type, and an empty write', (response) => response.writeHead(200).write('')],
  ])('%s', async (_how, send) => {
    await using server = await guarded((_request, response) => void send(response))
    using client = rawRequest({ port: server.port, body: { stream: true } })
    // Nothing more will come.
    await client.received('\r\n\r\n')
    expect(client.head).toMatch(/^HTTP\/1.1 200/)
  })

  test('the status is there once it has been written', async () => {
    let seen: unknown
    await using server = await guarded((_request, response) => {
      response.writeHead(201)
      seen = response.statusCode
      response.end(wire(chatChunk('Hi'), '[DONE]'))
    })
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(seen).toBe(201)
    expect(client.status).toBe(201)
  })
})

test.each(['bye', '[DONE]', 'foo: bar\n\n', '{"ok":true}'])(
  'an app’s own stream that ends with %j has a clean end, as without the guard',
  async (last) => {
    await using server = await guarded((_request, response) => {
      response.writeHead(200, eventStream).write(wire({ mine: 1 }))
      response.end(last)
    })
    using client = await rawRequest({
      port: server.port,
      path: '/api/news',
      body: { stream: true },
    }).finished()
    expect(client.bodyText.startsWith(wire({ mine: 1 }))).toBe(true)
    expect(client.bodyText).not.toContain('error')
    expect(server.ends).toMatchObject([{ outcome: 'completed' }])
  },
)

describe('a dialect of the app’s own that fails', () => {
  const fail = () => {
    throw new Error('bug')
  }
  const failing: Record<string, StreamDialect> = {
    follow: { ...dialects.plain, follow: fail },
    complete: {
      ...dialects.plain,
      follow: () => Object.defineProperty(dialects.plain.follow(), 'complete', { get: fail }),
    },
    closing: { ...dialects.plain, follow: () => ({ ...dialects.plain.follow(), closing: fail }) },
  }
  test.each(Object.entries(failing))(
    'in %s: the client has an ending, and nothing is left',
    async (_what, dialect) => {
      await using proxy = await startProxy(({ writer }) => writer.write({ data: 'x' }), { dialect })
      const headers = { Connection: 'close' }
      using _client = await rawRequest({ port: proxy.port, headers, body: { stream: true } }).closed()
      expect(await proxy.end()).toMatchObject({ outcome: 'internal' })
      expect([...liveStreams()]).toEqual([])
    },
  )
})

test('an upstream’s error alone says nothing against the path: the client gets it as its API has it', async () => {
  await using upstream = await startUpstream((exchange) =>
    exchange
      .open()
      .data({ error: { message: 'full' } })
      .end(),
  )
  await using proxy = await startProxy(async (stream) => {
    stream.writer.open()
    await stream.relay(await upstreamClients.http(upstream.url, stream), (event) => event)
  })
  using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
  const last = client.events.at(-1)
  expect(last?.event).toBeUndefined()
  expect(JSON.parse(last?.data ?? '')).toMatchObject({ object: 'chat.completion.chunk' })
})

test('the signal of a writer stays quiet when its stream is complete', async () => {
  const signals: AbortSignal[] = []
  await using proxy = await startProxy(async ({ writer, signal }) => {
    signals.push(writer.signal, signal)
    await writer.write({ data: '[DONE]' })
  })
  using _client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
  await proxy.end()
  expect(signals.map(({ aborted }) => aborted)).toEqual([false, false])
})

test('a source of no event stream that the signal destroys while its client leaves ends no process', async () => {
  const sources: Readable[] = []
  const errors: unknown[] = []
  const note = (error: unknown) => errors.push(error)
  process.on('uncaughtException', note)
  try {
    await using server = await listen(
      wrapApp((request, response) => {
        const source = new Readable({ read() {} })
        sources.push(source)
        const signal = getSignal(request)
        signal.addEventListener('abort', () => source.destroy(signal.reason))
        source.push('hello')
        source.pipe(response.setHeader('Content-Type', 'text/plain'))
      }),
    )
    const client = await rawRequest({ port: server.port, body: { stream: true } }).received('hello')
    client.reset()
    await vi.waitUntil(() => sources[0]?.closed)
    for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate)
    expect(errors).toEqual([])
  } finally {
    process.off('uncaughtException', note)
  }
})

test('sources that are piped one after another leave no listeners behind', async () => {
  let listeners = 0
  await using server = await guarded(async (_request, response) => {
    response.setHeader('Content-Type', 'text/plain')
    for (let each = 0; each < 15; each++) {
      const source = new PassThrough()
      source.pipe(response, { end: false })
      source.end('x')
      await new Promise((resolve) => source.once('close', resolve))
    }
    listeners = response.listenerCount('unpipe')
    response.end()
  })
  using client = await rawRequest({ port: server.port, method: 'GET', path: '/file' }).finished()
  expect(client.bodyText).toBe('x'.repeat(15))
  expect(listeners).toBe(0)
})

test('requests that wait for each other on a connection share one listener on it', async () => {
  let most = 0
  const held: ServerResponse[] = []
  await using server = await guarded((request, response) => {
    most = Math.max(most, request.socket.listenerCount('close'))
    if (held.push(response) === 15) for (const each of held) each.end('x')
  })
  const { RawClient } = await import('../support/raw-client.js')
  using client = new RawClient(server.port)
  client.socket.write('GET /file HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(15))
  await client.received('x')
  while (held.length < 15) await new Promise(setImmediate)
  expect(most).toBeLessThan(8)
})

describe('HTTP/2: headers of a connection, which a handler copies, are dropped', () => {
  const copied = {
    'keep-alive': 'timeout=5',
    connection: 'keep-alive',
    'transfer-encoding': 'chunked',
    'proxy-connection': 'keep-alive',
    upgrade: 'h2c',
  }
  test.each([
    ['writeHead', 'text/event-stream'],
    ['setHeader', 'text/event-stream'],
    ['writeHead', 'text/plain'],
    ['setHeader', 'text/plain'],
  ])('with %s, %s', async (how, type) => {
    await using server = await serveHttp2(
      wrapApp((_request, response) => {
        const headers = { 'content-type': type, ...copied }
        if (how === 'setHeader') for (const each of Object.entries(headers)) response.setHeader(...each)
        response.writeHead(200, how === 'writeHead' ? headers : {}).end(wire(chatChunk('Hi'), '[DONE]'))
      }),
    )
    const client = await server.ask({ stream: true })
    const seen = await client.finished()
    expect(seen.status).toBe(200)
    expect(seen.text).toContain('[DONE]')
    expect(seen.headers['keep-alive']).toBeUndefined()
  })
})
