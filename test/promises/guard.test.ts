import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import {
  Agent,
  createServer,
  request as httpRequest,
  type RequestListener,
  type ServerResponse,
} from 'node:http'
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { PassThrough, pipeline, Readable } from 'node:stream'
import { gunzipSync, gzipSync } from 'node:zlib'
import compression from 'compression'
import express, { type RequestHandler } from 'express'
import Koa from 'koa'
import compress from 'koa-compress'
import { describe, expect, test, vi } from 'vitest'
import { guardStreams, wrapApp as wrapExpress } from '../../src/adapters/express.js'
import { guardStreams as guardKoa, wrapApp as wrapKoa } from '../../src/adapters/koa.js'
import {
  dialects,
  drainStreams,
  type GuardOptions,
  getSignal,
  getStream,
  type StreamEnd,
  wrapApp,
} from '../../src/index.js'
import { chatAnswer, chatChunk, failureOf, textOf } from '../support/chat.js'
import { listen } from '../support/proxy.js'
import { RawClient, rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'
import { expectWarning } from '../support/warnings.js'
import { eventStream, wire } from '../support/wire.js'
import { withResolvers } from '../support/with-resolvers.js'

describe('anything but an event stream passes as it was', () => {
  const app = () => {
    const created = express()
    created.get('/json', (_request, response) => void response.json({ a: 1 }))
    created.get('/text', (_request, response) => void response.send('hello'))
    created.get('/empty', (_request, response) => void response.status(204).end())
    created.get('/redirect', (_request, response) => response.redirect('/json'))
    created.get(
      '/array',
      (_request, response) => void response.writeHead(200, ['X-A', '1', 'X-B', '2']).end('x'),
    )
    created.get('/chunks', (_request, response) => {
      response.write('a')
      response.end('b')
    })
    created.get('/trailers', (_request, response) => {
      response.write('a')
      response.addTrailers({ 'X-Sum': '1' })
      response.end()
    })
    created.get('/fail', () => {
      throw new Error('bug')
    })
    created.get('/fail-later', async () => {
      await new Promise(setImmediate)
      throw Object.assign(new Error('teapot'), { status: 418 })
    })
    created.set('env', 'test')
    return created
  }
  const koa = () => {
    const created = new Koa()
    created.silent = true
    return created.use((context) => {
      if (context.path === '/json') context.body = { a: 1 }
      else if (context.path === '/text') context.body = 'hello'
      else if (context.path === '/fail') throw new Error('bug')
      else if (context.path === '/fail-later') context.throw(418, 'teapot')
    })
  }
  const paths = [
    '/json',
    '/text',
    '/empty',
    '/redirect',
    '/array',
    '/chunks',
    '/trailers',
    '/fail',
    '/fail-later',
    '/none',
  ]

  test.each<[string, () => RequestListener, () => RequestListener]>([
    ['Express 5', () => app() as unknown as RequestListener, () => wrapExpress(app())],
    ['Koa 3', () => koa().callback(), () => wrapKoa(koa())],
  ])(
    'under wrapApp %s answers byte for byte, errors before the head and 404 included',
    async (_name, bare, wrapped) => {
      await using before = await listen(bare())
      await using after = await listen(wrapped())
      for (const path of paths) {
        for (const method of ['GET', 'HEAD', 'POST']) {
          const texts: string[] = []
          for (const { port } of [before, after]) {
            using client = rawRequest({ port, path, method, headers: { Connection: 'close' } })
            await client.closed()
            texts.push(client.text.replace(/^Date: .*$/m, 'Date:'))
          }
          expect(texts[1], `${method} ${path}`).toBe(texts[0])
        }
      }
    },
  )

  test('and leaves no record, even on a path for chats', async () => {
    const ends: StreamEnd[] = []
    const listener = wrapApp((_request, response) => void response.end('{}'), {
      onEnd: (end) => ends.push(end),
    })
    await using server = await listen(listener)
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(client.bodyText).toBe('{}')
    await new Promise(setImmediate)
    expect(ends).toEqual([])
  })

  test('a client that leaves a JSON request aborts its signal', async () => {
    const aborted = new Promise<unknown>((resolve) => {
      void listen(
        wrapApp((request) => {
          const { signal } = getStream(request) as { signal: AbortSignal }
          signal.addEventListener('abort', () => resolve(signal.reason))
        }),
      ).then(async ({ port }) => {
        const client = rawRequest({ port, path: '/json', method: 'GET' })
        await once(client.socket, 'connect')
        setTimeout(() => client.reset(), 20)
      })
    })
    expect(await aborted).toMatchObject({ outcome: 'client_gone' })
  })
})

describe("a proxy that copies its upstream's headers keeps its chunks, and its connection", () => {
  const copied = {
    'content-type': 'text/event-stream',
    'transfer-encoding': 'chunked',
    connection: 'keep-alive',
    'keep-alive': 'timeout=5',
  }

  test.each<[string, (response: ServerResponse) => void]>([
    ['writeHead', (response) => void response.writeHead(200, copied)],
    [
      'setHeader',
      (response) => {
        for (const [name, value] of Object.entries(copied)) response.setHeader(name, value)
      },
    ],
  ])('by %s', async (_name, copy) => {
    const listener = wrapApp((_request, response) => {
      copy(response)
      response.end(wire(...chatAnswer('Hi')))
    })
    await using server = await listen(listener)
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(client.header('transfer-encoding')).toBe('chunked')
    expect(client.body.complete).toBe(true)
    expect(client.ending).toBeUndefined()
    expect(textOf(client.data)).toBe('Hi')
    client.send({ body: { stream: true } })
    await client.until(() => client.text.split('HTTP/1.1 200').length === 3)
  })
})

describe('ways in which handlers write streams', () => {
  async function guarded(
    handler: Parameters<typeof wrapApp>[0],
    options: GuardOptions = {},
    path = '/v1/chat/completions',
  ) {
    await using server = await listen(wrapApp(handler, options))
    using client = await rawRequest({ port: server.port, path, body: { stream: true } }).finished()
    return client
  }
  const broken = (...events: unknown[]) => {
    const source = new Readable({ read() {} })
    source.push(wire(...events))
    setTimeout(() => source.destroy(Object.assign(new Error('reset'), { code: 'ECONNRESET' })), 20)
    return source
  }

  test.each<[string, Parameters<typeof wrapApp>[0]]>([
    [
      'FM-41: .pipe(res)',
      (_request, response) => void broken(chatChunk('Hi')).pipe(response.writeHead(200, eventStream)),
    ],
    [
      'pipeline(source, res)',
      (_request, response) =>
        void pipeline(broken(chatChunk('Hi')), response.writeHead(200, eventStream), () => {}),
    ],
    [
      'res.destroy()',
      (_request, response) => {
        response.writeHead(200, eventStream).write(wire(chatChunk('Hi')))
        setTimeout(() => response.destroy(), 20)
      },
    ],
  ])('%s: a source that breaks', async (_how, handler) => {
    const client = await guarded(handler)
    expect(client.body.complete).toBe(true)
    expect(failureOf(client.data).code).toBe('connection_reset')
  })

  test('a source that breaks before its first byte', async () => {
    const client = await guarded((_request, response) => void broken().pipe(response))
    expect(client.status).toBe(503)
  })

  test('a source that is not an event stream is cut: half a body must not look whole', async () => {
    const client = await guarded((_request, response) => {
      const source = new Readable({ read() {} })
      source.push('{"half":')
      setTimeout(() => source.destroy(new Error('reset')), 20)
      source.pipe(response.writeHead(200, { 'Content-Type': 'application/json' }))
    })
    expect(client.body.complete).toBe(false)
  })

  test('[DONE] ends the response at once, though the handler does not', async () => {
    const client = await guarded((_request, response) => {
      response.writeHead(200, eventStream).write(wire(...chatAnswer('Hi')))
    })
    expect(client.data.at(-1)).toBe('[DONE]')
  })

  test('a finish_reason and the end: [DONE] is added', async () => {
    const client = await guarded((_request, response) => {
      response.writeHead(200, eventStream).end(wire(chatChunk('Hi'), chatChunk('', 'stop')))
    })
    expect(client.data.at(-1)).toBe('[DONE]')
  })

  test('an error event of the upstream is passed on, and no other added', async () => {
    const client = await guarded((_request, response) => {
      response.writeHead(200, eventStream).end(wire(chatChunk('Hi'), { error: { message: 'their own' } }))
    })
    expect(failureOf(client.data).message).toBe('their own')
  })

  test('on a path that says nothing the first event tells the dialect', async () => {
    const client = await guarded(
      (_request, response) => void response.writeHead(200, eventStream).end(wire(chatChunk('Hi'))),
      {},
      '/api/talk',
    )
    expect(failureOf(client.data).code).toBe('upstream_truncated')
    const plain = await guarded(
      (_request, response) => void response.writeHead(200, eventStream).end(wire('tick')),
      {},
      '/events',
    )
    expect(plain.bodyText).toBe('data: tick\n\n')
  })

  test('a handler that answers after the guard has: nothing is sent, nothing thrown', async () => {
    const ended = withResolvers()
    const written = withResolvers()
    const client = await guarded(
      async (_request, response) => {
        await ended.promise
        response.setHeader('X-Late', '1')
        response.writeHead(200, { 'Content-Type': 'application/json' })
        response.write('late')
        response.end('later', () => written.resolve())
      },
      { timeouts: { firstByteMs: 50 }, onEnd: () => ended.resolve() },
    )
    await written.promise
    expect(client.status).toBe(504)
    expect(client.text).not.toContain('late')
  })

  test.each<[string, (response: ServerResponse) => ServerResponse]>([
    ['writeHead', (response) => response.writeHead(200, eventStream)],
    ['setHeader', (response) => response.setHeader('Content-Type', 'text/event-stream')],
  ])(
    'a handler that calls pipeline after the guard has responded, with %s: nothing is thrown',
    async (_name, head) => {
      const ended = withResolvers()
      await using upstream = await startUpstream(async (exchange) => {
        await ended.promise
        exchange
          .open()
          .data(...chatAnswer('Hello'))
          .end()
      })
      const closed = withResolvers<unknown[]>()
      const client = await guarded(
        (_request, response) => {
          const call = httpRequest(upstream.url, { method: 'POST' }, (answer) => {
            answer.on('close', () => setImmediate(() => closed.resolve([response.destroyed])))
            try {
              // Node 24 throws here for a response that has closed.
              pipeline(answer, head(response), () => {})
            } catch (error) {
              closed.resolve([error])
            }
          })
          response.on('close', () => ended.resolve())
          call.end('{}')
        },
        { timeouts: { firstByteMs: 50 } },
      )
      expect(client.status).toBe(504)
      expect(await closed.promise).toEqual([true])
    },
  )

  test('a handler that calls pipeline after its client has left: it ends at once', async () => {
    const settled = withResolvers<unknown>()
    const asked = withResolvers()
    const left = withResolvers()
    const listener = wrapApp(async (_request, response) => {
      response.on('close', () => left.resolve())
      asked.resolve()
      await left.promise
      await new Promise(setImmediate)
      // Node 24 throws, and Node 20 calls back with an error.
      try {
        pipeline(new PassThrough(), response.writeHead(200, eventStream), settled.resolve)
      } catch (error) {
        settled.resolve(error)
      }
    })
    await using server = await listen(listener)
    using client = rawRequest({ port: server.port, body: { stream: true } })
    await asked.promise
    client.reset()
    expect(await settled.promise).toBeInstanceOf(Error)
  })

  test('a handler that sets a status after the guard has responded: the record has the status of the client', async () => {
    const ends: StreamEnd[] = []
    const client = await guarded(
      (_request, response) => {
        // Fastify does so when a cancelled call rejects.
        response.once('finish', () => {
          response.statusCode = 500
        })
      },
      { timeouts: { firstByteMs: 50 }, onEnd: (end) => ends.push(end) },
    )
    expect(client.status).toBe(504)
    await expect.poll(() => ends).toMatchObject([{ outcome: 'timeout', status: 504 }])
  })

  test('a request that turns out to want no stream is not timed', async () => {
    const app = express().use(guardStreams({ timeouts: { firstByteMs: 50 } }), express.json())
    app.post('/v1/chat/completions', async (_request, response) => {
      await new Promise((resolve) => setTimeout(resolve, 200))
      response.json({ a: 1 })
    })
    await using server = await listen(app)
    using client = await rawRequest({ port: server.port, body: { stream: false } }).finished()
    expect(client.bodyText).toBe('{"a":1}')
    using streaming = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(streaming.status).toBe(504)
  })

  test("after the last event, the upstream is the handler's own", async () => {
    await using upstream = await startUpstream((exchange) => exchange.open().data(...chatAnswer('Hello')))
    const saved = withResolvers<unknown>()
    const ends: StreamEnd[] = []
    const listener = wrapApp(
      async (request, response) => {
        const signal = getSignal(request)
        const { body } = await fetch(upstream.url, { method: 'POST', signal })
        response.writeHead(200, eventStream)
        try {
          for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) response.write(chunk)
          response.end()
          saved.resolve(signal.aborted)
        } catch (error) {
          saved.reject(error)
        }
      },
      { cleanup: { lingerMs: 1 }, onEnd: (end) => ends.push(end) },
    )
    await using server = await listen(listener)
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(textOf(client.data)).toBe('Hello')
    await expect.poll(() => ends).toMatchObject([{ outcome: 'completed' }])
    const exchange = await upstream.exchange(0)
    expect(exchange.socket.destroyed).toBe(false)
    exchange.end()
    expect(await saved.promise).toBe(false)
  })

  test('a client that stops reading is let go', async () => {
    const ends: StreamEnd[] = []
    const listener = wrapApp(
      (_request, response) => {
        response.writeHead(200, eventStream)
        for (let events = 0; events < 150; events++) response.write(wire('x'.repeat(64 * 1024)))
      },
      { timeouts: { clientStallMs: 100 }, onEnd: (end) => ends.push(end) },
    )
    await using server = await listen(listener)
    using client = new RawClient(server.port)
    client.send({ path: '/events' }).socket.pause()
    while (ends.length === 0) await new Promise((resolve) => setTimeout(resolve, 10))
    expect(ends[0]).toMatchObject({ outcome: 'client_stalled' })
  })

  describe.each([
    ['before', [compression(), guardStreams()]],
    ['after', [guardStreams(), compression()]],
  ])('compression() %s the guard', (_where, middleware) => {
    test.each([
      ['writeHead', (response: ServerResponse) => response.writeHead(200, eventStream)],
      ['setHeader', (response: ServerResponse) => response.setHeader('Content-Type', 'text/event-stream')],
      [
        'setHeader, with a Cache-Control of its own',
        (response: ServerResponse) =>
          response.setHeader('content-type', 'text/event-stream').setHeader('Cache-Control', 'private'),
      ],
      [
        'writeHead, with a Cache-Control of its own',
        (response: ServerResponse) =>
          response.writeHead(200, { ...eventStream, 'Cache-Control': 'private', Vary: 'Origin' }),
      ],
      ['another middleware', (response: ServerResponse) => response],
    ])('holds nothing of a stream back: %s', async (how, begin) => {
      const before: RequestHandler = (_request, response, next) => {
        if (how === 'another middleware') response.setHeader('Content-Type', 'text/event-stream')
        next()
      }
      const app = express().use(before, ...middleware)
      app.post('/v1/chat/completions', (_request, response) => {
        begin(response)
        response.write(wire(chatChunk('Hi')))
      })
      await using server = await listen(app)
      using client = rawRequest({ port: server.port, headers: { 'Accept-Encoding': 'gzip' } })
      await client.received('Hi')
      expect(client.head.toLowerCase()).not.toContain('content-encoding')
      expect(client.head.toLowerCase()).toContain(
        how.includes('own')
          ? 'cache-control: private, no-transform\r\n'
          : 'cache-control: no-cache, no-transform\r\n',
      )
    })

    test('compresses the rest as ever', async () => {
      const app = express().use(...middleware)
      app.get('/', (_request, response) => {
        // It changes its mind.
        response.type('text/event-stream').type('text').send('a'.repeat(5_000))
      })
      await using server = await listen(app)
      const headers = { 'Accept-Encoding': 'gzip' }
      using client = await rawRequest({ port: server.port, method: 'GET', path: '/', headers }).finished()
      expect(gunzipSync(client.body.bytes).toString()).toBe('a'.repeat(5_000))
      expect(client.head.toLowerCase()).not.toContain('cache-control')
    })
  })

  test('koa-compress after the guard holds nothing back', async () => {
    const app = new Koa().use(guardKoa()).use(compress({ threshold: 0 }))
    const codes: string[] = []
    app.on('error', ({ code }) => codes.push(code))
    app.use((context) => {
      context.type = 'text/event-stream'
      const body = new PassThrough()
      body.write(wire(chatChunk('Hi')))
      context.body = body
    })
    await using server = await listen(app.callback())
    using client = rawRequest({ port: server.port, headers: { 'Accept-Encoding': 'gzip' } })
    await client.received('Hi')
    client.reset()
    // Koa reports the client that left: of the connection, and of the compressed body.
    await vi.waitUntil(() => codes.includes('ERR_STREAM_PREMATURE_CLOSE'))
    expect(['ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE']).toEqual(expect.arrayContaining(codes))
  })

  test('FM-39: HTTP/2, a body that is not an event stream ends with an error, not as if it were whole', async () => {
    const server = createHttp2Server(
      wrapApp((_request, response) => {
        const source = new Readable({ read() {} })
        source.push('{"half":')
        setTimeout(() => source.destroy(new Error('reset')), 20)
        response.setHeader('content-type', 'application/json')
        source.pipe(response)
      }),
    ).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const session = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    const stream = session.request({ ':path': '/' })
    stream.resume()
    const [error] = await once(stream, 'error')
    expect(error).toMatchObject({ code: 'ERR_HTTP2_STREAM_ERROR' })
    session.destroy()
    server.close()
  })
})

test('FM-36: the keep-alive race: of 300 requests on sockets that are about to close none fails', async () => {
  const listener = wrapApp((_request, response) => {
    response.setHeader('Connection', 'keep-alive')
    response.writeHead(200, eventStream).end(wire('[DONE]'))
  })
  await using server = await listen(listener, 0, 1_000)
  const agent = new Agent({ keepAlive: true, timeout: 60_000 })
  const failures: unknown[] = []
  const ask = () =>
    new Promise<void>((resolve) => {
      httpRequest(server.url, { agent }, (response) => response.resume().on('end', resolve))
        .on('error', (error) => {
          failures.push(error)
          resolve()
        })
        .end()
    })
  // The server closes an idle socket two seconds after its answer: half of these come just then.
  for (let round = 0; round < 3; round++) {
    await Promise.all(Array.from({ length: 50 }, ask))
    await new Promise((resolve) => setTimeout(resolve, 1_990 + 10 * round))
    await Promise.all(Array.from({ length: 50 }, ask))
  }
  expect(failures).toEqual([])
  agent.destroy()
})

test('bad options, and no app, are refused when the app is built', () => {
  expect(() => wrapApp(undefined as never)).toThrow('app must be a function, got undefined')
  expect(() => wrapKoa({} as never)).toThrow('app must be a Koa app')
  expect(() => guardStreams({ timeouts: { totalMs: 0 } })).toThrow('timeouts.totalMs')
  expect(() => wrapApp(() => {}, { detect: 7 as never })).toThrow('detect must be')
  expect(() => wrapApp(() => {}, { onend: () => {} } as never)).toThrow('options.onend is not an option')
})

test('an upstream that is piped is cancelled when the client leaves', async () => {
  await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hi')))
  await using server = await listen(
    wrapApp((_request, response) => {
      httpRequest(upstream.url, (answer) => answer.pipe(response.writeHead(200, eventStream))).end()
    }),
  )
  using client = await rawRequest({ port: server.port, body: {} }).received('Hi')
  client.reset()
  await (await upstream.exchange(0)).closed
})

describe('findings of a reviewer', () => {
  const later = (durationMs: number) => new Promise((resolve) => setTimeout(resolve, durationMs))

  test('an app whose session wraps end() gets its 504 whole', async () => {
    const app = express().use(guardStreams({ timeouts: { firstByteMs: 50 } }), (_request, response, next) => {
      const end = response.end.bind(response)
      Object.assign(response, { end: (...args: []) => void setTimeout(() => end(...args), 20) })
      next()
    })
    app.post('/v1/chat/completions', () => {})
    await using server = await listen(app)
    using client = await rawRequest({ port: server.port, path: '/v1/chat/completions' }).finished()
    expect(client.status).toBe(504)
    expect(client.body.complete).toBe(true)
  })

  test('an upstream that is piped after the 504 is released', async () => {
    await using upstream = await startUpstream(async (exchange) => {
      await later(200)
      exchange.open().data(chatChunk('late'))
    })
    await using server = await listen(
      wrapApp(
        (_request, response) => {
          httpRequest(upstream.url, (answer) => answer.pipe(response.writeHead(200, eventStream))).end()
        },
        { timeouts: { firstByteMs: 50 } },
      ),
    )
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(client.status).toBe(504)
    await (await upstream.exchange(0)).closed
  })

  test('compressed events pass as they are, also when writeHead says so; a failure cuts them', async () => {
    const bytes = gzipSync(wire(chatChunk('Hi')))
    const warned = expectWarning(/UnhangWarning: a compressed event stream passes the guard/)
    let last: ServerResponse | undefined
    await using server = await listen(
      wrapApp((request, response) => {
        response.writeHead(200, { ...eventStream, 'Content-Encoding': 'gzip' })
        if (request.url === '/good') response.end(bytes)
        else response.write(bytes)
        last = response
      }),
    )
    using client = await rawRequest({
      port: server.port,
      path: '/good',
      body: { stream: true },
    }).finished()
    expect(client.body.bytes.equals(bytes)).toBe(true)
    await warned
    using cut = rawRequest({ port: server.port, body: { stream: true } })
    await cut.until(() => cut.body.bytes.equals(bytes))
    last?.destroy(Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' }))
    await cut.closed()
    expect(cut.body).toMatchObject({ complete: false })
    expect(cut.body.bytes.equals(bytes)).toBe(true)
  })

  test('a source that several responses share outlives each of them', async () => {
    const source = new PassThrough()
    await using server = await listen(
      wrapApp((_request, response) => {
        response.writeHead(200, { 'Content-Type': 'multipart/x-mixed-replace' }).flushHeaders()
        source.pipe(response)
      }),
    )
    const first = rawRequest({ port: server.port, method: 'GET', path: '/camera' })
    using second = rawRequest({ port: server.port, method: 'GET', path: '/camera' })
    await Promise.all([first, second].map((client) => client.received('\r\n\r\n')))
    first.reset()
    await later(50)
    source.write('frame')
    await second.received('frame')
    expect(source.listenerCount('error')).toBeLessThan(4)
  })

  test('a handler answers for its own source', async () => {
    await using server = await listen(
      wrapApp((_request, response) => {
        const source = createReadStream('/no/such/file')
        source.pipe(response)
        source.on('error', () => response.writeHead(404).end('no such file'))
      }),
    )
    using client = await rawRequest({ port: server.port, method: 'GET', path: '/file' }).finished()
    expect(client.status).toBe(404)
    expect(client.bodyText).toBe('no such file')
  })

  test('a greeting is not yet the upstream', async () => {
    await using server = await listen(
      wrapApp(
        async (_request, response) => {
          response.writeHead(200, eventStream).write(': connected\n\n')
          await later(300)
          response.end(wire(...chatAnswer('Hi')))
        },
        { timeouts: { firstByteMs: 5_000, inactivityMs: 100 } },
      ),
    )
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(client.data.at(-1)).toBe('[DONE]')
  })

  test('a handler that waits for drain after the end does not wait for ever', async () => {
    const done = new Promise<void>((resolve) => {
      void listen(
        wrapApp(async (_request, response) => {
          response.writeHead(200, eventStream)
          for (const chunk of [wire(...chatAnswer('x'.repeat(200_000))), '\n']) {
            if (!response.write(chunk)) await once(response, 'drain')
          }
          resolve()
        }),
      ).then(({ port }) => rawRequest({ port, body: { stream: true } }))
    })
    await done
  })

  test('a dialect that fails does not end the process, nor keep the client waiting', async () => {
    const fail = () => {
      throw new Error('bug')
    }
    const dialect = {
      ...dialects.plain,
      errorBody: fail,
      follow: () => ({ ...dialects.plain.follow(), failing: fail }),
    }
    await using server = await listen(wrapApp(() => {}, { dialect, timeouts: { firstByteMs: 50 } }))
    using client = await rawRequest({ port: server.port, body: { stream: true } }).closed()
    expect(client.text).toBe('')
  })

  test('a shutdown waits for a stream whose head is still to come', async () => {
    const server = createServer(
      wrapApp(async (_request, response) => {
        await later(200)
        response.writeHead(200, eventStream).end(wire(...chatAnswer('Hi')))
      }),
    ).listen(0, '127.0.0.1')
    await once(server, 'listening')
    using client = rawRequest({ port: (server.address() as AddressInfo).port, body: { stream: true } })
    await once(server, 'request')
    expect(await drainStreams(server, { graceMs: 5_000 })).toEqual({ finished: 1, reported: 0, forced: 0 })
    await client.finished()
    expect(client.data.at(-1)).toBe('[DONE]')
  })

  test('a good stream is good for pipeline() too, and ends though its source does not', async () => {
    for (const ends of [true, false]) {
      const failures: unknown[] = []
      const piped = (source: Readable) =>
        wrapApp(
          (_request, response) => {
            pipeline(source, response.writeHead(200, eventStream), (error) => failures.push(error))
          },
          { cleanup: { lingerMs: 100 } },
        )
      const source = new Readable({ read() {} })
      source.push(wire(...chatAnswer('Hi')))
      if (ends) setTimeout(() => source.push(null), 30)
      await using server = await listen(piped(source))
      using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
      expect(client.data.at(-1)).toBe('[DONE]')
      expect(client.body.complete).toBe(true)
      while (failures.length === 0) await later(5)
      if (ends) expect(failures).toEqual([undefined])
    }
  })

  test('the client of a bare handler that rejects gets a response, and its error is printed', async () => {
    const print = vi.spyOn(console, 'error').mockImplementation(() => {})
    const bug = new Error('bug')
    await using server = await listen(wrapApp(() => Promise.reject(bug)))
    using client = await rawRequest({ port: server.port, method: 'GET', path: '/page' }).finished()
    expect(client.status).toBe(500)
    while (print.mock.calls.length === 0) await later(5)
    expect(print.mock.calls[0]?.at(-1)).toMatch(/^Error: bug\n\s+at /)
    print.mockRestore()
  })

  test('a HEAD request is not a stream', async () => {
    const ends: StreamEnd[] = []
    const handler = wrapApp((_request, response) => void response.writeHead(200, eventStream).end(), {
      onEnd: (end) => ends.push(end),
    })
    await using server = await listen(handler)
    using client = await rawRequest({ port: server.port, method: 'HEAD', path: '/events' }).received(
      '\r\n\r\n',
    )
    client.send({ method: 'HEAD', path: '/events' })
    await client.until(() => client.text.split('HTTP/1.1 200').length === 3)
    expect(ends).toEqual([])
  })
})
