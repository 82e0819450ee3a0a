import { request as httpRequest } from 'node:http'
import { afterEach, describe, expect, test, vi } from 'vitest'
import {
  createStreamMiddleware,
  guardStreams,
  type StreamMiddlewareOptions,
} from '../../src/adapters/express.js'
import type { StreamEnd } from '../../src/index.js'
import { chatAnswer, chatChunk, failureOf, textOf } from '../support/chat.js'
import { clockOf } from '../support/clock-of.js'
import { expressVersions } from '../support/express-versions.js'
import { listen, upstreamClients } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'
import { withResolvers } from '../support/with-resolvers.js'

afterEach(() => vi.restoreAllMocks())

describe.each(expressVersions)('%s', (_version, express) => {
  /** A proxy as in the README: a streaming route, a JSON route behind it, and the app's own error handler. */
  function createProxy(upstreamUrl: string, options: StreamMiddlewareOptions = {}) {
    const app = express()
    const failures: unknown[] = []
    app.post(
      '/v1/chat/completions',
      express.json(),
      createStreamMiddleware(async (stream) => {
        await stream.relay(await upstreamClients.http(upstreamUrl, stream))
      }, options),
      (_request, response) => void response.json({ object: 'chat.completion' }),
    )
    app.use(((error, _request, response, _next) => {
      failures.push(error)
      response.status(500).end('the app’s own')
    }) as import('express').ErrorRequestHandler)
    return { app, failures }
  }

  test('a streaming request is streamed', async () => {
    await using upstream = await startUpstream((exchange) =>
      exchange
        .open()
        .data(...chatAnswer('Hel', 'lo'))
        .end(),
    )
    await using server = await listen(createProxy(upstream.url).app)
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(client.status).toBe(200)
    expect(textOf(client.data)).toBe('Hello')
    expect(client.data.at(-1)).toBe('[DONE]')
  })

  test.each([{ stream: false }, { model: 'x' }])('FM-43: %j goes on to the JSON route', async (body) => {
    await using upstream = await startUpstream(() => {})
    await using server = await listen(createProxy(upstream.url).app)
    using client = await rawRequest({
      port: server.port,
      body,
      headers: { Accept: 'text/event-stream' },
    }).finished()
    expect(client.header('content-type')).toMatch(/^application\/json/)
    expect(client.bodyText).toBe('{"object":"chat.completion"}')
    expect(client.header('x-accel-buffering')).toBeUndefined()
    expect(upstream.exchanges).toHaveLength(0)
  })

  test('an empty body on the path of a chat says nothing: the path does, and the request is streamed', async () => {
    await using upstream = await startUpstream((exchange) =>
      exchange
        .open()
        .data(...chatAnswer('Hello'))
        .end(),
    )
    await using server = await listen(createProxy(upstream.url).app)
    using client = await rawRequest({ port: server.port, body: {} }).finished()
    expect(textOf(client.data)).toBe('Hello')
    expect(upstream.exchanges).toHaveLength(1)
  })

  test('FM-40: a failure after the head never reaches Express, which would cut the connection', async () => {
    await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hello')).reset())
    const { app, failures } = createProxy(upstream.url)
    await using server = await listen(app)
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(client.body.complete).toBe(true)
    expect(textOf(client.data)).toBe('Hello')
    expect(failureOf(client.data).code).toBe('connection_reset')
    expect(failures).toEqual([])
    // The connection is as good as new.
    client.send({ body: { stream: false } })
    await client.received('chat.completion"')
  })

  test.each([true, false])(
    'a failed upstream, guarded: %s, is reported to onEnd or printed',
    async (isGuarded) => {
      const print = vi.spyOn(console, 'error').mockImplementation(() => {})
      const ends: StreamEnd[] = []
      await using upstream = await startUpstream((exchange) =>
        exchange.open().data(chatChunk('Hello')).reset(),
      )
      const app = express().set('env', 'production')
      if (isGuarded) app.use(guardStreams({ onEnd: (end) => ends.push(end) }))
      app.post('/v1/chat/completions', express.json(), async (_request, response, next) => {
        try {
          const { body } = await fetch(upstream.url, { method: 'POST', body: '{}' })
          response.writeHead(200, { 'content-type': 'text/event-stream' })
          for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) response.write(chunk)
          response.end()
        } catch (error) {
          next(error)
        }
      })
      await using server = await listen(app)
      using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
      expect(client.body.complete).toBe(isGuarded)
      await expect.poll(() => ends.length + print.mock.calls.length).toBe(1)
      expect(ends).toMatchObject(isGuarded ? [{ outcome: 'upstream_hangup' }] : [])
    },
  )

  test.each([true, false])(
    'a request without a stream whose upstream fails: Express prints it, guarded or not: %s',
    async (isGuarded) => {
      const print = vi.spyOn(console, 'error').mockImplementation(() => {})
      const ends: StreamEnd[] = []
      await using upstream = await startUpstream((exchange) => exchange.reset())
      const app = express().set('env', 'production')
      if (isGuarded) app.use(guardStreams({ onEnd: (end) => ends.push(end) }))
      app.post('/v1/chat/completions', express.json(), (_request, response, next) => {
        const call = fetch(upstream.url, { method: 'POST', body: '{}' })
        call.then((answer) => response.send(answer.status), next)
      })
      await using server = await listen(app)
      using client = await rawRequest({ port: server.port, body: { stream: false } }).finished()
      expect(client.status).toBe(500)
      expect(client.header('content-type')).toMatch(/^text\/html/)
      await expect.poll(() => print.mock.calls.length).toBe(1)
      expect(ends).toEqual([])
    },
  )

  test('behind the guard a handler passes the status of its upstream on with response.status()', async () => {
    const refusal = '{"error":{"message":"Slow down.","code":"rate_limit_exceeded"}}'
    await using upstream = await startUpstream((exchange) =>
      exchange.answer('429 Too Many Requests', refusal),
    )
    const app = express().use(guardStreams())
    app.post('/v1/chat/completions', express.json(), async (_request, response) => {
      const answer = await fetch(upstream.url, { method: 'POST', body: '{}' })
      response
        .status(answer.status)
        .type('json')
        .send(await answer.text())
    })
    await using server = await listen(app)
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(client.status).toBe(429)
    expect(client.bodyText).toBe(refusal)
  })

  test('a failure before the head is JSON in the API’s shape, not the app’s error page', async () => {
    await using upstream = await startUpstream((exchange) => exchange.answer('401 Unauthorized', '{}'))
    const { app, failures } = createProxy(upstream.url)
    await using server = await listen(app)
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(client.status).toBe(401)
    expect(client.json.error).toMatchObject({ type: 'authentication_error', code: 'upstream_error' })
    expect(failures).toEqual([])
  })

  test('a client that leaves cancels the upstream, though the body was parsed long ago', async () => {
    await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hello')))
    const end = withResolvers<StreamEnd>()
    await using server = await listen(createProxy(upstream.url, { onEnd: end.resolve }).app)
    using client = await rawRequest({ port: server.port, body: { stream: true, model: 'o3-mini' } }).received(
      'Hello',
    )
    client.reset()
    await (await upstream.exchange(0)).closed
    expect(await end.promise).toMatchObject({ outcome: 'client_gone', model: 'o3-mini' })
  })

  test('the model picks the timeouts; a function may; the request may name none', async () => {
    const seen: unknown[] = []
    const app = express()
    const read = createStreamMiddleware((stream) => {
      seen.push(clockOf(stream).timeouts.totalMs)
      void stream.writer.write({ data: '[DONE]' })
    })
    const own = createStreamMiddleware(
      (stream) => {
        seen.push(clockOf(stream).timeouts.totalMs)
        void stream.writer.write({ data: '[DONE]' })
      },
      { timeouts: (request) => ({ totalMs: Number(request.get('x-total')) }), when: 'always' },
    )
    app.post('/v1/chat/completions', express.json(), read)
    app.post('/own/completions', own)
    await using server = await listen(app)
    using a = await rawRequest({ port: server.port, body: { stream: true, model: 'o3-mini' } }).finished()
    using b = await rawRequest({ port: server.port, body: { stream: true, model: 7 } }).finished()
    using c = await rawRequest({
      port: server.port,
      path: '/own/completions',
      headers: { 'x-total': '7000' },
    }).finished()
    expect([a.status, b.status, c.status]).toEqual([200, 200, 200])
    expect(seen).toEqual([600_000, 300_000, 7_000])
  })

  test('timeouts that a function gets wrong reach the app’s error handler', async () => {
    const { app, failures } = createProxy('', { timeouts: () => ({ totalMs: -1 }) })
    await using server = await listen(app)
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(client.bodyText).toBe('the app’s own')
    expect(failures[0]).toMatchObject({ message: expect.stringContaining('timeouts.totalMs') })
  })

  test('behind a router the path that was asked for decides the dialect', async () => {
    const router = express.Router()
    router.post(
      '/',
      createStreamMiddleware(() => Promise.reject(new Error('bug')), { onEnd: () => true, when: 'always' }),
    )
    router.post(
      '/events',
      createStreamMiddleware(
        async ({ writer }) => {
          await writer.write({ data: 'x' })
          throw new Error('bug')
        },
        { onEnd: () => true, when: 'always' },
      ),
    )
    await using server = await listen(express().use('/v1/chat/completions', router))
    using client = await rawRequest({ port: server.port, path: '/v1/chat/completions' }).finished()
    expect(client.json.error.code).toBe('internal_error')
    using plain = await rawRequest({ port: server.port, path: '/v1/chat/completions/events' }).finished()
    expect(plain.events.at(-1)?.event).toBe('error')
  })
})

test('a bad option, or no handler, is refused when the app is built', () => {
  expect(() => createStreamMiddleware(undefined as never)).toThrow(
    'handler must be a function, got undefined',
  )
  expect(() => createStreamMiddleware(() => {}, { timeouts: { totalMs: 0 } })).toThrow('timeouts.totalMs')
  expect(() => createStreamMiddleware(() => {}, { heartbeatMs: 5 } as never)).toThrow(
    'options.heartbeatMs is not an option',
  )
  expect(() => createStreamMiddleware(() => {}, { detect: 7 } as never)).toThrow('detect must be')
  expect(() => createStreamMiddleware(() => {}, { model: 'x' } as never)).toThrow('model must be a function')
})

test('a client of Node sees a whole response, never "aborted"', async () => {
  const [, express] = expressVersions[0] as (typeof expressVersions)[0]
  await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hello')).reset())
  const app = express().post(
    '/v1/chat/completions',
    createStreamMiddleware(
      async (stream) => stream.relay(await upstreamClients.axios(upstream.url, stream)),
      { when: 'always' },
    ),
  )
  await using server = await listen(app)
  const text = await new Promise<string>((resolve, reject) => {
    httpRequest(`${server.url}/v1/chat/completions`, { method: 'POST' }, async (response) => {
      let body = ''
      try {
        for await (const chunk of response.setEncoding('utf8')) body += chunk
        resolve(body)
      } catch (error) {
        reject(error)
      }
    })
      .on('error', reject)
      .end()
  })
  expect(text).toContain('Hello')
  expect(text).toContain('connection_reset')
})
