import { getRequestListener } from '@hono/node-server'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { Hono } from 'hono'
import { describe, expect, test } from 'vitest'
import unhang, { createStreamMiddleware } from '../../src/adapters/fastify.js'
import { guardStreams } from '../../src/adapters/hono.js'
import { getSignal } from '../../src/index.js'
import { type AnswerShape, answers } from '../../src/testing/index.js'
import { startProxied } from '../support/proxied.js'
import { listen } from '../support/proxy.js'
import { toldDeadlines } from './hand-written-proxy.js'
import { failedOf, gauntletOf } from './run-gauntlet.js'

/** `npm run test:gauntlet` waits for deadlines, too. */
const isQuick = process.env.GAUNTLET !== 'whole'
/** Shorter than what the gauntlet is told, for a machine that is busy. */
const timeouts = {
  firstByteMs: 1_000,
  firstEventMs: 1_500,
  inactivityMs: 1_800,
  upstreamStallMs: 2_000,
  totalMs: 9_000,
  clientStallMs: 8_000,
}
const options = { isQuick, deadlines: toldDeadlines }
const json = { 'content-type': 'application/json' }

/** The usual handler without unhang: it calls, and forwards each chunk. */
const call = (url: string, body: string, signal: AbortSignal) =>
  fetch(url, { method: 'POST', headers: json, body, signal })

/** Headers that are true of the response in front of the proxy, too. */
function headersOf({ headers }: Response): Record<string, string> {
  const kept = ['content-type', 'retry-after'].map((name) => [name, headers.get(name)])
  return Object.fromEntries(kept.filter(([, value]) => value !== null))
}

/** An error is passed on once it is whole. */
async function bodyOf(answer: Response) {
  return answer.ok ? answer.body : await answer.text()
}

async function answer(upstream: string, { url, body, raw }: FastifyRequest, reply: FastifyReply) {
  const response = await call(upstream + url, JSON.stringify(body), getSignal(raw))
  return reply
    .code(response.status)
    .headers(headersOf(response))
    .send(await bodyOf(response))
}

async function listening(app: FastifyInstance) {
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  return { url, [Symbol.asyncDispose]: () => app.close() }
}

describe('a proxy of unhang passes', { concurrent: isQuick, timeout: 60_000 }, () => {
  const shapes = Object.keys(answers) as AnswerShape[]
  test.each(shapes)('unhang proxy, in the API %s', async (shape) => {
    const base = { gemini: '/v1beta', ollama: '/api' }[shape as string] ?? '/v1'
    const serve = (url: string) => startProxied(url, { timeouts })
    expect(failedOf(await gauntletOf(serve, { ...options, shape }, base))).toEqual({})
  })

  test('a Hono app under unhang/hono', async () => {
    const report = await gauntletOf(async (url) => {
      const app = new Hono()
      app.use(guardStreams({ timeouts }))
      // Hono prints errors that it is not given.
      app.onError((_error, context) => context.text('Internal Server Error', 500))
      app.post('*', async ({ req }) => {
        const answer = await call(url + req.path, await req.text(), getSignal(req.raw))
        return new Response(await bodyOf(answer), { status: answer.status, headers: headersOf(answer) })
      })
      return await listen(getRequestListener((request) => app.fetch(request)))
    }, options)
    expect(failedOf(report)).toEqual({})
  })

  test('a Fastify app with a route of unhang/fastify', async () => {
    const report = await gauntletOf(async (upstream) => {
      const app = Fastify({ forceCloseConnections: true })
      const preHandler = createStreamMiddleware(
        ({ relay, signal }, { url, body }) => relay(call(upstream + url, JSON.stringify(body), signal)),
        { timeouts },
      )
      app.post('*', { preHandler }, (request, reply) => answer(upstream, request, reply))
      return listening(app)
    }, options)
    expect(failedOf(report)).toEqual({})
  })

  test('a Fastify app under unhang/fastify, but for half an event that its handler has sent', async () => {
    const report = await gauntletOf(async (upstream) => {
      const app = Fastify({ forceCloseConnections: true })
      await app.register(unhang, { timeouts })
      app.post('*', (request, reply) => answer(upstream, request, reply))
      return listening(app)
    }, options)
    // It cannot be taken back: docs/GUARD.md, "Limits".
    expect(failedOf(report)).toEqual({ 'FM-15 halfEvent': 'cut' })
  })
})
