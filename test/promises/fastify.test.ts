import { createServer } from 'node:http'
import Fastify, { type FastifyInstance } from 'fastify'
import { describe, expect, test } from 'vitest'
import { guardStreams, wrapApp } from '../../src/adapters/fastify.js'
import type { StreamEnd } from '../../src/index.js'
import { chatAnswer } from '../support/chat.js'
import { listen, type TestServer } from '../support/proxy.js'
import { type RawClient, rawRequest } from '../support/raw-client.js'
import { expectWarning } from '../support/warnings.js'
import { eventStream, wire } from '../support/wire.js'
import { withResolvers } from '../support/with-resolvers.js'

const path = '/v1/chat/completions'
type Options = Parameters<typeof guardStreams>[0]
type Build = (app: FastifyInstance) => FastifyInstance

/** With what a plugin for CORS does, behind the guard. */
function allow(app: FastifyInstance): FastifyInstance {
  return app.addHook('onRequest', (_request, reply, next) => {
    reply.header('access-control-allow-origin', '*')
    next()
  })
}

async function serveByItself(app: FastifyInstance): Promise<TestServer> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.addresses()[0] as { port: number }
  return { port, url: `http://127.0.0.1:${port}`, [Symbol.asyncDispose]: () => app.close() }
}

const ways: Record<string, (build: Build, options: Options) => Promise<TestServer>> = {
  'the plugin': (build, options) => serveByItself(build(allow(Fastify().register(guardStreams(options))))),
  'wrapApp(app)': (build, options) => listen(wrapApp(build(allow(Fastify())), options)),
  'wrapApp(handler)': (build, options) =>
    serveByItself(
      build(allow(Fastify({ serverFactory: (handler) => createServer(wrapApp(handler, options)) }))),
    ),
}

async function ask({ port }: TestServer): Promise<RawClient> {
  return await rawRequest({ port, path, body: { stream: true, model: 'm' } }).finished()
}

describe.each(Object.entries(ways))('Fastify, %s', (name, serve) => {
  test('the record names the model of the parsed body', async () => {
    const { promise: ended, resolve } = withResolvers<StreamEnd>()
    const build: Build = (app) =>
      app.post(path, (_request, reply) => {
        reply.hijack()
        reply.raw.writeHead(200, eventStream).end(wire(...chatAnswer('Hello')))
      })
    await using server = await serve(build, { onEnd: resolve })
    using client = await ask(server)
    expect(client.data.at(-1)).toBe('[DONE]')
    expect(await ended).toMatchObject({ outcome: 'completed', model: 'm' })
  })

  test('a handler that never responds: the 504 has the headers of the reply', async () => {
    const build: Build = (app) => app.post(path, () => new Promise(() => {}))
    await using server = await serve(build, { timeouts: { firstByteMs: 50 }, onEnd: () => true })
    using client = await ask(server)
    expect(client.status).toBe(504)
    expect(client.header('access-control-allow-origin')).toBe('*')
  })

  test('a header that Node does not take is left out of the error, and the rest is sent', async () => {
    const build: Build = (app) =>
      app.post(path, (_request, reply) => {
        reply.header('x-title', 'ü\n')
        return new Promise(() => {})
      })
    await using server = await serve(build, { timeouts: { firstByteMs: 50 }, onEnd: () => true })
    if (name === 'the plugin') void expectWarning(/the header x-title is left out/)
    using client = await ask(server)
    expect(client.status).toBe(504)
    expect(client.header('x-title')).toBeUndefined()
    expect(client.header('access-control-allow-origin')).toBe('*')
  })

  // Only its own hooks come before a handler.
  if (name === 'wrapApp(handler)') return
  test.each<[string, number, () => Promise<void>]>([
    ['throws', 500, () => Promise.reject(new Error('a bug'))],
    ['never ends', 504, () => new Promise(() => {})],
  ])(
    'a hook before the handler that %s: the error has the headers of the reply',
    async (_how, status, hook) => {
      const build: Build = (app) => app.addHook('preHandler', hook).post(path, () => 'never')
      await using server = await serve(build, { timeouts: { firstByteMs: 50 }, onEnd: () => true })
      using client = await ask(server)
      expect(client.status).toBe(status)
      expect(client.json).toHaveProperty('error.code')
      expect(client.header('access-control-allow-origin')).toBe('*')
    },
  )
})
