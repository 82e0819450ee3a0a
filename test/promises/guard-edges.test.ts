import { once } from 'node:events'
import { createServer, type IncomingMessage, ServerResponse } from 'node:http'
import { connect as connectHttp2, createSecureServer } from 'node:http2'
import { createServer as createHttpsServer, request as httpsRequest } from 'node:https'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { PassThrough, Readable } from 'node:stream'
import type { ErrorRequestHandler } from 'express'
import Koa from 'koa'
import koaBodyParser from 'koa-bodyparser'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { createStreamMiddleware, guardStreams, wrapApp as wrapExpress } from '../../src/adapters/express.js'
import { guardStreams as guardKoa, wrapApp as wrapKoa } from '../../src/adapters/koa.js'
import type { GuardHandle } from '../../src/guard/handle.js'
import {
  drainStreams,
  type GuardedStream,
  type GuardOptions,
  getStream,
  handleStream,
  type StreamDeadlines,
  type StreamEnd,
  wrapApp,
} from '../../src/index.js'
import { guards, writers } from '../../src/registry.js'
import { certificate } from '../support/certificate.js'
import { chatAnswer, chatChunk, failureOf, textOf } from '../support/chat.js'
import { expressVersions } from '../support/express-versions.js'
import { guarded, type Handler } from '../support/guarded.js'
import { listen, startProxy } from '../support/proxy.js'
import { RawClient, rawRequest } from '../support/raw-client.js'
import { eventStream, wire } from '../support/wire.js'

const later = (durationMs: number) => new Promise((resolve) => setTimeout(resolve, durationMs))
const [, express] = expressVersions[0] as (typeof expressVersions)[0]

afterEach(() => vi.restoreAllMocks())

/** The lines that unhang prints of a failed handler whose stream has no `onEnd`. */
function printedFailure() {
  const print = vi.spyOn(console, 'error').mockImplementation(() => {})
  return async (message: string) => {
    await vi.waitUntil(() => print.mock.calls.length > 0)
    expect(print).toHaveBeenCalledExactlyOnceWith(
      'unhang: %s: the handler failed: %s',
      expect.any(String),
      expect.stringContaining(`Error: ${message}\n`),
    )
  }
}

/** A guarded handler, and the records of its streams. */
async function guard(handler: Handler, options: GuardOptions = {}) {
  const { ends, ...server } = await guarded(handler, options)
  return {
    ...server,
    async end(): Promise<StreamEnd> {
      while (ends.length === 0) await later(2)
      return ends[0] as StreamEnd
    },
    ask: (more: Partial<Parameters<typeof rawRequest>[0]> = {}) =>
      rawRequest({ port: server.port, body: { stream: true }, ...more }),
    [Symbol.asyncDispose]: server[Symbol.asyncDispose],
  }
}

test('code behind the guard gets as many arguments as the handler gave', async () => {
  const given: number[] = []
  const guarded = wrapApp((_request: IncomingMessage, response: ServerResponse) => {
    response.setHeader('Content-Type', 'text/plain')
    response.write('a')
    response.write('b', 'utf8')
    response.write('c', () => response.end())
  })
  await using server = await listen((request, response) => {
    const { write } = response
    response.write = (...args: unknown[]) => {
      given.push(args.length)
      return write.apply(response, args as never)
    }
    guarded(request, response)
  })
  using client = await rawRequest({ port: server.port }).finished()
  expect(client.body.bytes.toString()).toBe('abc')
  expect(given).toEqual([1, 2, 2])
})

describe('a response is guarded, whatever its request', () => {
  const fails = (response: ServerResponse) => {
    response.writeHead(200, eventStream).write(wire(chatChunk('Hi')))
    throw new Error('boom')
  }

  test('an app that replaces the request of its response', async () => {
    const expectPrinted = printedFailure()
    const app = express().post('/v1/chat/completions', (_request, response) => fails(response))
    const guarded = wrapExpress(app)
    await using server = await listen((request: IncomingMessage, response: ServerResponse) => {
      // As adapters of serverless platforms make their responses; Express puts its own request there.
      guarded(request, Object.assign(response, { req: { method: request.method } }))
    })
    using client = rawRequest({ port: server.port, body: { stream: true } })
    await client.finished()
    expect(textOf(client.data)).toBe('Hi')
    expect(failureOf(client.data).code).toBe('internal_error')
    await expectPrinted('boom')
  })

  test('an app that makes another response of the same request', async () => {
    await using proxy = await guard((request, response) => {
      void handleStream(new ServerResponse(request), () => {}).catch(() => {})
      fails(response)
    })
    using client = proxy.ask()
    await client.finished()
    expect(textOf(client.data)).toBe('Hi')
    expect(failureOf(client.data).code).toBe('internal_error')
  })
})

describe('a handler that goes on after its stream was ended', () => {
  test.each<[string, (response: ServerResponse) => Promise<void>]>([
    [
      'waits for drain',
      async (response) => {
        for (;;) if (!response.write(wire('x'))) await once(response, 'drain')
      },
    ],
    [
      'waits for its callbacks',
      async (response) => {
        for (;;) {
          await new Promise<void>((resolve, reject) => {
            response.write(wire('x'), (error) => (error ? reject(error) : setImmediate(resolve)))
          })
        }
      },
    ],
  ])('and %s, learns of it', async (_how, write) => {
    const failed = new Promise<unknown>((resolve) => {
      void guard((_request, response) => write(response.writeHead(200, eventStream)).catch(resolve), {
        timeouts: { totalMs: 50, firstByteMs: 50 },
      }).then(({ ask }) => ask().finished())
    })
    expect(await failed).toMatchObject({ code: 'ERR_STREAM_WRITE_AFTER_END' })
  })

  test('with what it throws after [DONE] adds nothing', async () => {
    await using server = await guard(async (_request, response) => {
      new PassThrough().pipe(response.writeHead(200, eventStream))
      response.write(`${wire(...chatAnswer('Hi'))}data: {"half`)
      throw new Error('bug')
    })
    using client = await server.ask().finished()
    expect(client.data.at(-1)).toBe('[DONE]')
    expect(await server.end()).toMatchObject({ outcome: 'completed', sawTerminal: true })
  })
})

test.each<[string, (parts: Buffer[], response: ServerResponse) => unknown]>([
  [
    'written and ended',
    ([start, rest], response) => {
      response.write(start)
      response.end(rest)
    },
  ],
  [
    'written, and ended later',
    ([start, rest], response) => {
      response.write(start)
      setImmediate(() => response.write(rest, () => response.end()))
    },
  ],
  ['piped', (parts, response) => Readable.from(parts).pipe(response)],
])('the last line end may come in two: %s', async (_how, write) => {
  const body = wire(chatChunk('Hi'), '[DONE]').replaceAll('\n', '\r\n')
  await using server = await guard((_request, response) => {
    write([Buffer.from(body.slice(0, -1)), Buffer.from('\n')], response.writeHead(200, eventStream))
  })
  using client = await server.ask().finished()
  expect(client.bodyText).toBe(body)
  expect(await server.end()).toMatchObject({ outcome: 'completed', bytes: body.length })
})

test.each([
  [['error: {"code":400,', '"message":"too long"}\n\ndata: [DONE]\n\n']],
  [['err', 'or: {"code":400,"message":"too long"}\n', '\ndata: [DONE]\n\n']],
])('llama.cpp’s own error in several writes, %j: unhang’s is an event of its own', async (parts) => {
  await using server = await guard((_request, response) => {
    response.writeHead(200, eventStream).write(wire(chatChunk('Hi')))
    for (const part of parts) response.write(part)
    response.end()
  })
  using client = await server.ask().finished()
  expect(client.data).toHaveLength(2)
  expect(failureOf(client.data).message).toBeTruthy()
  expect(await server.end()).toMatchObject({ outcome: 'upstream_error' })
})

describe('sources', () => {
  test('one that several streams share outlives each of them, and collects no listeners', async () => {
    const hub = new PassThrough()
    const warn = vi.spyOn(process, 'emitWarning')
    await using server = await guard((_request, response) => {
      response.writeHead(200, eventStream).write(': hi\n\n')
      hub.pipe(response)
    })
    for (let index = 0; index < 15; index++) {
      const client = await server.ask({ method: 'GET', path: '/events' }).received(': hi')
      client.reset()
      while (hub.listenerCount('data') > 0) await later(2)
    }
    expect(hub.destroyed).toBe(false)
    for (const event of ['end', 'error', 'close']) expect(hub.listenerCount(event)).toBeLessThan(4)
    expect(warn).not.toHaveBeenCalled()
    using last = server.ask({ method: 'GET', path: '/events' })
    await last.received(': hi')
    hub.write(wire('hello'))
    await last.received('hello')
  })

  test('the source of a transform is let go with it', async () => {
    const upstream = new Readable({ read() {} })
    await using server = await guard((_request, response) => {
      upstream.pipe(new PassThrough()).pipe(response.writeHead(200, eventStream))
      upstream.push(wire(chatChunk('Hi')))
    })
    using client = await server.ask().received('Hi')
    client.reset()
    if (!upstream.closed) await new Promise((resolve) => upstream.once('close', resolve))
  })

  test('an app that has another source is let use it', async () => {
    for (const headFirst of [true, false]) {
      await using server = await guard((_request, response) => {
        const first = new Readable({ read() {} })
        if (headFirst) response.writeHead(200, eventStream)
        first.pipe(response)
        first.on('error', async () => {
          await later(20)
          if (!headFirst) response.writeHead(200, eventStream)
          Readable.from([wire(...chatAnswer('Hi'))]).pipe(response)
        })
        setTimeout(() => first.destroy(new Error('reset')), 10)
      })
      using client = await server.ask().finished()
      expect(client.data.at(-1)).toBe('[DONE]')
    }
  })

  test('one that only listens is not waited for long', async () => {
    await using server = await guard((_request, response) => {
      const source = new Readable({ read() {} })
      source.on('error', () => {}).pipe(response.writeHead(200, eventStream))
      setTimeout(() => source.destroy(Object.assign(new Error('reset'), { code: 'ECONNRESET' })), 10)
    })
    using client = await server.ask({ path: '/v1/chat/completions' }).finished()
    expect(failureOf(client.data).code).toBe('connection_reset')
  })

  test('the footer of a body that is not a stream is sent', async () => {
    await using server = await guard(async (_request, response) => {
      const source = Readable.from(['[1'])
      response.setHeader('Content-Type', 'application/json')
      source.pipe(response, { end: false })
      await later(10)
      source.destroy()
      await later(30)
      response.end(']')
    })
    using client = await server.ask({ method: 'GET', path: '/list' }).finished()
    expect(client.bodyText).toBe('[1]')
  })

  test('a proxy that ends with a text of its own, while it pipes, has hung up: the text is left out', async () => {
    await using server = await guard((_request, response) => {
      new PassThrough().pipe(response.writeHead(200, eventStream))
      response.write(wire(chatChunk('Hi')))
      response.end('Error occurred while trying to proxy: localhost/v1')
    })
    using client = await server.ask().finished()
    expect(client.bodyText).not.toContain('Error occurred')
    expect(failureOf(client.data).code).toBe('connection_reset')
  })
})

describe('anything but an event stream', () => {
  test.each<[string, string, Handler]>([
    [
      'an error with the type of a stream keeps its length',
      'Content-Length: 4',
      (_request, response) => response.writeHead(400, eventStream).end('nope'),
    ],
    [
      'the same, without writeHead',
      'Content-Length: 4',
      (_request, response) => {
        response.statusCode = 400
        response.setHeader('Content-Type', 'text/event-stream').end('nope')
      },
    ],
    [
      'JSON under the name of a stream is JSON',
      'Content-Length: 9',
      (_request, response) => {
        response.setHeader('Content-Type', 'text/event-stream').setHeader('Content-Length', 9)
        response.end('{"error":1}'.slice(0, 9))
      },
    ],
  ])('%s', async (_what, header, handler) => {
    await using server = await guard(handler)
    using client = await server.ask().finished()
    if (header.endsWith('4')) expect(client.bodyText).toBe('nope')
    else expect(client.bodyText).toBe('{"error":')
    if (!_what.startsWith('an error')) expect(client.head).toContain(header)
  })

  test('JSON after writeHead said it was a stream stays JSON, whatever goes wrong', async () => {
    await using server = await guard((_request, response) => {
      response.writeHead(200, eventStream)
      response.end('{"error":{"message":"no"}}')
    })
    using client = await server.ask().finished()
    expect(client.bodyText).toBe('{"error":{"message":"no"}}')
  })

  test('an answer that was ended before its handler failed arrives whole', async () => {
    const big = 'x'.repeat(8_000_000)
    await using server = await guard(async (_request, response) => {
      response.end(big)
      throw new Error('log failure')
    })
    const answer = await fetch(`${server.url}/big`)
    expect(await answer.text()).toHaveLength(big.length)
  })

  test('headers are sent as the app spelled them', async () => {
    await using server = await guard((_request, response) => {
      response.setHeader('Cache-Control', ['a', 'b'])
      response.setHeader('Content-Type', 'text/event-stream').setHeader('Content-Type', 'text/plain').end('x')
    })
    using client = await server.ask().finished()
    expect(client.head).toContain('Cache-Control: a\r\nCache-Control: b')
  })

  test('with writer.headers off the guard adds none', async () => {
    await using server = await guard(
      (_request, response) => response.setHeader('Content-Type', 'text/event-stream').end(wire('[DONE]')),
      { writer: { headers: false } },
    )
    using client = await server.ask().finished()
    for (const name of ['cache-control', 'x-request-id', 'x-accel-buffering']) {
      expect(client.header(name)).toBeUndefined()
    }
  })

  test('nothing may be written that Node would not take', async () => {
    const failed = new Promise<unknown>((resolve) => {
      void guard((_request, response) => {
        try {
          response.writeHead(200, eventStream).write(null)
        } catch (error) {
          resolve(error)
        }
      }).then(({ ask }) => ask())
    })
    expect(await failed).toMatchObject({ code: 'ERR_STREAM_NULL_VALUES' })
  })

  test('a Trailer that was promised does not keep an error from being reported', async () => {
    await using server = await guard((_request, response) => void response.setHeader('Trailer', 'X-Sum'), {
      timeouts: { firstByteMs: 30 },
    })
    using client = await server.ask().finished()
    expect(client.status).toBe(504)
  })
})

describe('streams', () => {
  test('a page that subscribes has no deadlines unless they are set', async () => {
    const subscribe: Handler = (_request, response) =>
      response.writeHead(200, eventStream).write(wire('hello'))
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    try {
      await using server = await guard(subscribe, { writer: { heartbeatMs: false } })
      using client = await server.ask({ method: 'GET', path: '/news' }).received('hello')
      vi.advanceTimersByTime(3_600_000)
      for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate)
      expect(client.ending).toBeUndefined()
      expect(client.body.complete).toBe(false)
      await using timed = await guard(subscribe, { timeouts: { totalMs: 1_000 } })
      using ended = await timed.ask({ method: 'GET', path: '/news' }).received('hello')
      vi.advanceTimersByTime(1_001)
      await ended.finished()
      expect(ended.text).toContain('event: error')
    } finally {
      vi.useRealTimers()
    }
  })

  test('a chat whose body is unread may be one that thinks long: 504 after 300 s', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    try {
      let asked: () => void = () => {}
      const isAsked = new Promise<void>((resolve) => {
        asked = resolve
      })
      await using server = await guard(() => asked())
      using client = server.ask()
      await isAsked
      vi.advanceTimersByTime(299_000)
      for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate)
      expect(client.bytes).toHaveLength(0)
      vi.advanceTimersByTime(1_001)
      await client.finished()
      expect(client.status).toBe(504)
    } finally {
      vi.useRealTimers()
    }
  })

  test('an API is recognised though its first event says nothing of it', async () => {
    const filter = { choices: [], created: 0, id: '', model: '', object: '', prompt_filter_results: [] }
    await using server = await guard((_request, response) => {
      response.writeHead(200, eventStream).end(wire(filter, chatChunk('Hi')))
    })
    using client = await server.ask({ path: '/api/chat' }).finished()
    expect(failureOf(client.data).code).toBe('upstream_truncated')
  })

  test('a second answer on the connection waits for the first one as long as it takes', async () => {
    await using server = await guard(
      async (request, response) => {
        response.writeHead(200, eventStream).write(wire(chatChunk('Hi')))
        if (request.url === '/1') await later(300)
        response.end(wire(chatChunk('', 'stop'), '[DONE]'))
      },
      { timeouts: { clientStallMs: 50 } },
    )
    using client = new RawClient(server.port)
    client.send({ path: '/1', body: {} }).send({ path: '/2', body: {} })
    await client.until(() => client.text.split('[DONE]').length === 3)
  })

  test('a pipelined client that leaves before its turn is gone', async () => {
    await using server = await guard((request, response) => {
      if (request.url === '/1') response.writeHead(200, eventStream).write(wire(chatChunk('Hi')))
    })
    const client = new RawClient(server.port)
    client.send({ path: '/1', body: {} }).send({ path: '/v1/chat/completions', body: {} })
    await client.received('Hi')
    client.reset()
    expect(await server.end()).toMatchObject({ outcome: 'client_gone' })
  })

  test('heartbeats go on when a client that was slow has caught up', async () => {
    await using server = await guard(
      (_request, response) => {
        response.writeHead(200, eventStream)
        for (let events = 0; events < 100; events++) response.write(wire('x'.repeat(64 * 1024)))
      },
      { writer: { heartbeatMs: 20 } },
    )
    using client = server.ask({ path: '/events' })
    client.socket.pause()
    await later(100)
    client.socket.resume()
    const isAll = () => client.socket.bytesRead > 100 * 64 * 1024
    await client.until(() => isAll() && client.bytes.subarray(-9).toString().includes(':\n\n\r\n'))
  })

  test('one guard is enough: an inner one is the same', async () => {
    const app = express().use(guardStreams({ timeouts: { totalMs: 5_000 } }))
    app.post('/v1/chat/completions', (_request, response) => void response.writeHead(200, eventStream).end())
    await using server = await listen(wrapExpress(app))
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(failureOf(client.data).code).toBe('upstream_truncated')
  })

  test('a route written the unhang way is left to it', async () => {
    const app = express().use(guardStreams(), express.json())
    app.post(
      '/v1/chat/completions',
      createStreamMiddleware(async ({ writer }) => void (await writer.write({ data: chatChunk('Hi') })), {
        relay: { onTruncated: 'accept' },
      }),
    )
    await using server = await listen(app)
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(textOf(client.data)).toBe('Hi')
    expect(client.data.at(-1)).not.toContain('error')
  })
})

describe('a failure before the head', () => {
  const apps: Record<string, (fail: () => never) => Parameters<typeof listen>[0]> = {
    'Express 5': (fail) => wrapExpress(express().post('/v1/chat/completions', async () => fail())),
    'Koa 3': (fail) => wrapKoa(silent(new Koa().use(fail))),
    'Koa 3, guardStreams': (fail) => silent(new Koa().use(guardKoa()).use(fail)).callback(),
  }
  function silent(app: Koa): Koa {
    app.silent = true
    return app
  }

  test.each(Object.entries(apps))('%s: a client that asked for a stream gets JSON', async (_name, app) => {
    const expectPrinted = printedFailure()
    await using server = await listen(
      app(() => {
        throw new Error('secret')
      }),
    )
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(client.status).toBe(500)
    expect(client.json.error.code).toBe('internal_error')
    expect(client.text).not.toContain('secret')
    await expectPrinted('secret')
  })

  test('a route that came after the first request is guarded, too', async () => {
    const expectPrinted = printedFailure()
    const app = express().use(guardStreams())
    await using server = await listen(app)
    using first = await rawRequest({ port: server.port, path: '/none' }).finished()
    expect(first.status).toBe(404)
    app.post('/v1/chat/completions', (_request, response) => {
      response.writeHead(200, eventStream).write(wire(chatChunk('Hi')))
      throw new Error('bug')
    })
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(failureOf(client.data).code).toBe('internal_error')
    await expectPrinted('bug')
  })
})

describe('Express 4', () => {
  const express4 = expressVersions.find(([name]) => name.includes('4'))?.[1] as typeof express

  test('a handler that rejects and has called next gets one response', async () => {
    const app = express4().use(guardStreams())
    const answers: unknown[] = []
    app.get('/page', ((_request, _response, next) => {
      const work = Promise.reject(new Error('bug'))
      work.catch(next)
      return work
    }) as Parameters<typeof app.get>[1])
    const apologize: ErrorRequestHandler = (_error, _request, response, _next) => {
      answers.push(response.status(500).send('sorry'))
    }
    app.use(apologize)
    await using server = await listen(app)
    using client = await rawRequest({ port: server.port, method: 'GET', path: '/page' }).finished()
    expect(client.bodyText).toBe('sorry')
    await later(10)
    expect(answers).toHaveLength(1)
    expect(client.ending).toBeUndefined()
  })

  test('an error handler that rejects, too, gets a response to its client', async () => {
    const expectPrinted = printedFailure()
    const app = express4().use(guardStreams())
    app.post('/v1/chat/completions', () => {
      throw new Error('bug')
    })
    app.use((async (_error: unknown, _request: unknown, _response: unknown, _next: unknown) => {
      throw new Error('worse')
    }) as never)
    await using server = await listen(app)
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(client.json.error.code).toBe('internal_error')
    await expectPrinted('worse')
  })
})

describe('Koa’s parsed body is seen', () => {
  test.each([
    [
      'guardStreams',
      (options: GuardOptions, app: Koa) => new Koa().use(guardKoa(options)).use(mount(app)).callback(),
    ],
    ['wrapApp', (options: GuardOptions, app: Koa) => wrapKoa(app, options)],
  ])('%s', async (_name, guarded) => {
    const app = new Koa().use(koaBodyParser()).use(async (context) => {
      if ((context.request.body as { stream: boolean }).stream) context.respond = false
      else {
        await later(120)
        context.body = { a: 1 }
      }
    })
    await using server = await listen(guarded({ timeouts: { firstByteMs: 50 } }, app) as Handler)
    using plain = await rawRequest({ port: server.port, body: { stream: false } }).finished()
    expect(plain.bodyText).toBe('{"a":1}')
    using stream = await rawRequest({
      port: server.port,
      path: '/api/chat',
      body: { stream: true },
    }).finished()
    expect(stream.status).toBe(504)
  })

  /** The middleware of another app, as a part of this one. */
  function mount(app: Koa): Koa.Middleware {
    return async (context, next) => {
      const [first, second] = app.middleware
      await first?.(context, async () => void (await second?.(context, next)))
    }
  }

  test('getStream takes a context and a request of Koa', async () => {
    const seen: unknown[] = []
    const app = new Koa().use(guardKoa()).use((context) => {
      seen.push(getStream(context), getStream(context.request), getStream(context.req))
      context.body = 'x'
    })
    await using server = await listen(app.callback())
    using _client = await rawRequest({ port: server.port, body: {} }).finished()
    expect(new Set(seen).size).toBe(1)
    expect(seen[0]).toHaveProperty('signal')
  })
})

describe('a server that shuts down', () => {
  test('lets a stream finish that was on its way, on whatever path', async () => {
    const server = createServer(
      wrapApp(async (_request, response) => {
        await later(150)
        response.writeHead(200, eventStream).end(wire(...chatAnswer('Hi')))
      }),
    ).listen(0, '127.0.0.1')
    await once(server, 'listening')
    using client = rawRequest({ port: (server.address() as AddressInfo).port, path: '/api/chat', body: {} })
    await once(server, 'request')
    await drainStreams(server, { graceMs: 5_000 })
    await client.finished()
    expect(client.data.at(-1)).toBe('[DONE]')
  })

  test('goes on as before for noticeMs', async () => {
    const server = createServer(wrapApp((_request, response) => void response.end('x'))).listen(
      0,
      '127.0.0.1',
    )
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const drained = drainStreams(server, { noticeMs: 300 })
    using client = await rawRequest({ port, body: { stream: true } }).finished()
    expect(client.bodyText).toBe('x')
    expect(client.header('connection')).not.toBe('close')
    await drained
  })

  test('tells an idle HTTP/2 session to go', async () => {
    const server = createSecureServer(
      certificate,
      wrapApp((_request, response) => void response.end('x')),
    )
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const session = connectHttp2(`https://localhost:${(server.address() as AddressInfo).port}`, {
      ca: certificate.cert,
    })
    const stream = session.request({ ':path': '/' }).resume()
    await once(stream, 'close')
    void drainStreams(server, { graceMs: 100 })
    await once(session, 'close')
  })
})

test('node:https', async () => {
  const server = createHttpsServer(
    certificate,
    wrapApp((_request, response) => void response.writeHead(200, eventStream).end(wire(chatChunk('Hi')))),
  ).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const request = httpsRequest({
    port,
    host: 'localhost',
    path: '/v1/chat/completions',
    ca: certificate.cert,
  })
  const [response] = (await once(request.end(), 'response')) as [IncomingMessage]
  let text = ''
  for await (const chunk of response.setEncoding('utf8')) text += chunk
  expect(text).toContain('upstream_truncated')
  expect(response.complete).toBe(true)
  server.closeAllConnections()
  server.close()
})

test('a guard of the other copy of the library is known', async () => {
  const require = createRequire(import.meta.url)
  const copy = require('../../dist/index.cjs') as typeof import('../../src/index.js')
  const seen: unknown[] = []
  await using server = await listen(
    copy.wrapApp(
      wrapApp((request, response) => {
        seen.push(getStream(request), copy.getStream(request))
        response.writeHead(200, eventStream).end(wire(chatChunk('Hi')))
      }),
    ),
  )
  using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
  expect(failureOf(client.data).code).toBe('upstream_truncated')
  expect(seen[0]).toBe(seen[1])
  expect(seen[0]).toHaveProperty('signal')
})

describe('the rest of a guard when its response is over', () => {
  async function over(answer: (response: ServerResponse) => void, leave = false) {
    const seen: {
      request: IncomingMessage
      response: ServerResponse
      deadlines: StreamDeadlines
      signal: AbortSignal
    }[] = []
    await using server = await listen(
      wrapApp((request, response) => {
        const stream = getStream(request) as GuardedStream
        seen.push({ request, response, deadlines: stream.deadlines, signal: stream.signal })
        answer(response)
      }),
    )
    const headers = { 'x-request-id': 'given' }
    using client = rawRequest({ port: server.port, headers, body: { stream: true } })
    if (leave) (await client.received('Hi')).reset()
    else await client.finished()
    const [{ request, response, deadlines, signal }] = seen as [(typeof seen)[0]]
    const handle = guards().get(request) as GuardHandle
    await vi.waitUntil(() => handle.isOver)
    return { deadlines, signal, after: getStream(request) as GuardedStream, response }
  }

  test('an answer that was no stream keeps its id, and a signal that stays quiet', async () => {
    const { after, response } = await over((answer) => void answer.end('{}'))
    expect(after.requestId).toBe('given')
    expect(after.signal.aborted).toBe(false)
    expect(after.deadlines.signal.aborted).toBe(false)
    expect(guards().get(response)?.respond(new Error('late'))).toBe(false)
  })

  test('a stream keeps its id, its clock and its signal, and takes no error any more', async () => {
    const { deadlines, after, response } = await over((answer) => {
      answer.writeHead(200, eventStream).write(wire(chatChunk('Hi')))
    }, true)
    expect(after.requestId).toBe('given')
    expect(after.deadlines.signal).toBe(deadlines.signal)
    expect(after.deadlines.phase).toBe(deadlines.phase)
    expect(after.signal.reason).toMatchObject({ outcome: 'client_gone' })
    expect(guards().get(response)?.respond(new Error('late'))).toBe(true)
  })

  test('an answer that was no stream, and that its client did not wait for: the signal stays aborted', async () => {
    const { signal, after } = await over((answer) => {
      answer.writeHead(200, { 'Content-Type': 'application/json' }).write('{"text": "Hi')
    }, true)
    expect(signal.aborted).toBe(true)
    expect(after.signal.reason).toMatchObject({ outcome: 'client_gone' })
    expect(after).toMatchObject({ requestId: 'given', refused: false })
  })

  test('no writer is kept', async () => {
    const responses: ServerResponse[] = []
    await using proxy = await startProxy(async ({ writer }, _request, response) => {
      if (writers().has(response)) responses.push(response)
      await writer.write({ data: '[DONE]' })
    })
    using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
    expect(client.data).toEqual(['[DONE]'])
    await proxy.end()
    expect(responses.map((response) => writers().has(response))).toEqual([false])
  })
})

test('no app is refused when there is none', () => {
  expect(() => wrapExpress(undefined as never)).toThrow('app must be a function, got undefined')
})
