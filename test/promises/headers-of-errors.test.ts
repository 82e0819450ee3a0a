import type { RequestListener } from 'node:http'
import fastifyCors from '@fastify/cors'
import { getRequestListener } from '@hono/node-server'
import koaCors from '@koa/cors'
import expressCors from 'cors'
import Fastify, { type FastifyInstance } from 'fastify'
import { Hono, type MiddlewareHandler } from 'hono'
import { cors as honoCors } from 'hono/cors'
import Koa from 'koa'
import { describe, expect, test } from 'vitest'
import { guardStreams as guardExpress } from '../../src/adapters/express.js'
import { guardStreams as guardFastify, wrapApp as wrapFastify } from '../../src/adapters/fastify.js'
import { guardStreams as guardHono } from '../../src/adapters/hono.js'
import { guardStreams as guardKoa, wrapApp as wrapKoa } from '../../src/adapters/koa.js'
import { handleStream, wrapApp } from '../../src/index.js'
import { relayResponse } from '../../src/web/index.js'
import { expressVersions } from '../support/express-versions.js'
import { listen, type TestServer } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'

const path = '/v1/chat/completions'
const origin = 'https://page.test'
const cors = { origin: [origin], exposedHeaders: 'x-request-id', credentials: true }
/** No page may read a response without the first. */
const ofTheApp = {
  'access-control-allow-origin': origin,
  'access-control-allow-credentials': 'true',
  'access-control-expose-headers': 'x-request-id',
  'x-mine': 'yes',
}
/** A handler has set these for the stream that it never began. */
const ofTheStream: Record<string, string> = {
  'content-type': 'text/event-stream',
  'content-length': '5',
  'content-encoding': 'gzip',
  'cache-control': 'public',
  etag: '"1"',
  'x-mine': 'yes',
}

/** Sets the headers of a stream, and never begins it. */
type Fail = (set: (name: string, value: string) => unknown) => Promise<never>
type Serve = (fail: Fail) => TestServer | Promise<TestServer>

const guarding = { timeouts: { firstByteMs: 50 }, onEnd: () => true } as const
const mounts: Record<string, Serve> = {
  'node:http, wrapApp': (fail) =>
    listen(
      wrapApp((_request, response) => {
        for (const [name, value] of Object.entries(ofTheApp)) response.setHeader(name, value)
        return fail((name, value) => response.setHeader(name, value))
      }, guarding),
    ),
}

for (const [name, express] of expressVersions) {
  const handles = (app: ReturnType<typeof express>, fail: Fail) =>
    app.post(path, ((_request: unknown, response: { setHeader(name: string, value: string): void }) =>
      fail((name, value) => response.setHeader(name, value))) as never) as unknown as RequestListener
  const allow = expressCors(cors) as never
  Object.assign(mounts, {
    [`${name}, cors before the guard`]: (fail) =>
      listen(handles(express().use(allow, guardExpress(guarding) as never), fail)),
    [`${name}, cors behind the guard`]: (fail) =>
      listen(handles(express().use(guardExpress(guarding) as never, allow), fail)),
    [`${name}, wrapApp`]: (fail) => listen(wrapApp(handles(express().use(allow), fail) as never, guarding)),
  } satisfies Record<string, Serve>)
}

const koa = (fail: Fail, ...first: Koa.Middleware[]) => {
  const app = new Koa()
  app.silent = true
  for (const middleware of first) app.use(middleware)
  return app.use((context) => fail((name, value) => context.set(name, value)))
}
const allowKoa = koaCors({ credentials: true, exposeHeaders: 'x-request-id' })
const allowHono = honoCors({ origin: [origin], credentials: true, exposeHeaders: ['x-request-id'] })

const fastify = async (fail: Fail, add: (app: FastifyInstance) => unknown, app = Fastify()) => {
  await add(app)
  app.post(path, (_request, reply) => fail((name, value) => reply.header(name, value)))
  return app
}
const serveFastify = async (app: FastifyInstance): Promise<TestServer> => {
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.addresses()[0] as { port: number }
  return { port, url: `http://127.0.0.1:${port}`, [Symbol.asyncDispose]: () => app.close() }
}

const hono = (fail: Fail, ...first: MiddlewareHandler[]) => {
  const app = new Hono()
  app.use(...first)
  app.post(path, (context) => fail((name, value) => context.header(name, value)))
  app.onError((_error, context) => context.text('Internal Server Error', 500))
  return listen(getRequestListener(app.fetch))
}

Object.assign(mounts, {
  'Koa, cors before the guard': (fail) => listen(koa(fail, allowKoa, guardKoa(guarding)).callback()),
  'Koa, cors behind the guard': (fail) => listen(koa(fail, guardKoa(guarding), allowKoa).callback()),
  'Koa, wrapApp': (fail) => listen(wrapKoa(koa(fail, allowKoa), guarding)),
  'Fastify, cors before the guard': async (fail) =>
    serveFastify(
      await fastify(fail, (app) => app.register(fastifyCors, cors).register(guardFastify(guarding))),
    ),
  'Fastify, cors behind the guard': async (fail) =>
    serveFastify(
      await fastify(fail, (app) => app.register(guardFastify(guarding)).register(fastifyCors, cors)),
    ),
  'Fastify, wrapApp': async (fail) =>
    listen(wrapFastify(await fastify(fail, (app) => app.register(fastifyCors, cors)), guarding)),
  'Hono, cors before the guard': (fail) => hono(fail, allowHono, guardHono(guarding)),
  'Hono, cors behind the guard': (fail) => hono(fail, guardHono(guarding), allowHono),
} satisfies Record<string, Serve>)

describe.each(Object.entries(mounts))(
  '%s: an error has the headers of the app, and its own',
  (_name, serve) => {
    test.each<[string, number, string, () => Promise<never>]>([
      ['a handler throws', 500, 'internal_error', () => Promise.reject(new Error('a bug'))],
      ['a deadline passes', 504, 'upstream_first_byte_timeout', () => new Promise(() => {})],
    ])('%s', async (_what, status, code, end) => {
      await using server = await serve((set) => {
        for (const [name, value] of Object.entries(ofTheStream)) set(name, value)
        return end()
      })
      const asked = rawRequest({
        port: server.port,
        path,
        headers: { Origin: origin },
        body: { stream: true },
      })
      using client = await asked.finished()
      expect(client.status).toBe(status)
      expect(client.json).toMatchObject({ error: { code } })
      const headers = Object.fromEntries(
        [...Object.keys(ofTheApp), ...Object.keys(ofTheStream)].map((name) => [name, client.header(name)]),
      )
      expect(headers).toEqual({
        ...ofTheApp,
        'content-type': 'application/json; charset=utf-8',
        'content-length': String(client.body.bytes.length),
        'content-encoding': undefined,
        'cache-control': 'no-store',
        etag: undefined,
      })
    })
  },
)

describe('an error may be read by the pages of writer.cors', () => {
  const options = { ...guarding, writer: { cors: [origin] } }
  const throws = () => Promise.reject(new Error('a bug'))
  const servers: Record<string, () => Promise<TestServer>> = {
    'a guard': () => listen(wrapApp(throws, options)),
    'a streaming route': () => listen((_request, response) => void handleStream(response, throws, options)),
    relayResponse: () =>
      listen(getRequestListener((request) => relayResponse(throws, undefined, { ...options, request }))),
  }

  test.each(Object.entries(servers))('%s', async (_name, serve) => {
    await using server = await serve()
    const ask = (from: string) =>
      rawRequest({ port: server.port, path, headers: { Origin: from }, body: { stream: true } }).finished()
    using client = await ask(origin)
    expect(client.status).toBe(500)
    expect(client.header('access-control-allow-origin')).toBe(origin)
    expect(client.header('vary')).toBe('Origin')
    using stranger = await ask('https://other.test')
    expect(stranger.status).toBe(500)
    expect(stranger.header('access-control-allow-origin')).toBeUndefined()
  })
})
