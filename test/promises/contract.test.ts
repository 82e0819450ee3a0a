import Fastify, { type FastifyInstance } from 'fastify'
import Koa3 from 'koa'
import koaBodyParser from 'koa-bodyparser'
import Koa2 from 'koa2'
import { expect } from 'vitest'
import {
  createStreamMiddleware as expressStream,
  guardStreams as guardExpress,
  wrapApp as wrapExpress,
} from '../../src/adapters/express.js'
import fastifyPlugin, {
  createStreamMiddleware as fastifyStream,
  guardStreams as guardFastify,
  wrapApp as wrapFastify,
} from '../../src/adapters/fastify.js'
import {
  guardStreams as guardKoa,
  createStreamMiddleware as koaStream,
  wrapApp as wrapKoa,
} from '../../src/adapters/koa.js'
import { handleStream, isStreamError, type StreamOptions, wrapApp } from '../../src/index.js'
import { describeContract } from '../support/adapter-contract.js'
import { jsonAnswer, type MountSettings } from '../support/contract/mount.js'
import { expressVersions } from '../support/express-versions.js'
import {
  answerBy,
  answerNaively,
  chatUrl,
  pipe,
  pipeThrough,
  readBody,
  relayChat,
  serveHttp1,
  serveHttp2,
  writeByHand,
} from '../support/mounts.js'

const path = '/v1/chat/completions'

function options({ onEnd, options }: MountSettings): StreamOptions {
  return { ...options, onEnd }
}

/** Of mounts that look for themselves which requests want a stream. */
function detecting(settings: MountSettings): StreamOptions & { when?: 'always' } {
  return { ...options(settings), ...(settings.detect === false && { when: 'always' }) }
}

function guarding(settings: MountSettings): StreamOptions & { when?: 'responds' } {
  return { ...options(settings), ...(settings.detect === false && { when: 'responds' }) }
}

const route = { kind: 'route', releases: 'the upstream', detects: true } as const
/** The handler's own loop holds its upstream. */
const guard = { kind: 'guard', releases: 'nothing', detects: true } as const
const piping = { ...guard, releases: 'the upstream' } as const
const pipeline = { ...guard, releases: 'each step' } as const

for (const [name, express] of expressVersions) {
  describeContract({
    ...route,
    name,
    serve: (url, settings) =>
      serveHttp1(
        express().post(
          path,
          express.json(),
          expressStream(
            (stream, { body }, response) => relayChat(stream, { upstreamUrl: url, body, response, settings }),
            detecting(settings),
          ),
          (_request, response) => void response.type('json').send(jsonAnswer),
        ),
        settings,
      ),
  })

  /** An app that is not edited: its handler rejects when its upstream breaks, which Express 4 does not notice. */
  const app = (url: string, { hookInside }: MountSettings) =>
    express().post(path, express.json(), async (request, response) => {
      hookInside?.(response)
      await answerNaively(request.body, chatUrl(url, request.body), request, response)
    })

  describeContract({
    ...guard,
    name: `${name}, guardStreams`,
    serve: (url, settings) =>
      serveHttp1(express().use(guardExpress(guarding(settings)), app(url, settings)), settings),
  })

  describeContract({
    ...guard,
    name: `${name}, wrapApp: the guard`,
    serve: (url, settings) => serveHttp1(wrapExpress(app(url, settings), guarding(settings)), settings),
  })
}

for (const [name, Koa] of [
  ['Koa 3', Koa3],
  ['Koa 2', Koa2],
] as const) {
  describeContract({
    ...route,
    name,
    serve: async (url, settings) => {
      const app = new Koa()
      const reported: Error[] = []
      app.on('error', (error) => reported.push(error))
      app.use(koaBodyParser())
      app.use(
        koaStream(
          (stream, { request, res: response }) =>
            relayChat(stream, { upstreamUrl: url, body: request.body as object, response, settings }),
          detecting(settings),
        ),
      )
      app.use((context) => {
        context.type = 'json'
        context.body = jsonAnswer
      })
      const server = await serveHttp1(app.callback(), settings)
      return {
        ...server,
        async [Symbol.asyncDispose]() {
          await server[Symbol.asyncDispose]()
          // Koa itself reports a connection that is cut, be it by its client or by unhang. What the handler threw is no
          // concern of Koa's.
          for (const error of reported) {
            if (!isStreamError(error)) expect(error).toMatchObject({ code: 'ECONNRESET' })
          }
        },
      }
    },
  })

  /** An app that is not edited: it takes the response from Koa, and throws. */
  const naive = (url: string, { hookInside }: MountSettings, ...first: Parameters<Koa3['use']>[0][]) => {
    const app = new Koa()
    app.silent = true
    for (const middleware of first) app.use(middleware)
    return app.use(koaBodyParser()).use(async (context) => {
      const { req, res } = context
      const body = context.request.body as object
      hookInside?.(res)
      context.respond = false
      await answerNaively(body, chatUrl(url, body), req, res)
    })
  }

  describeContract({
    ...guard,
    name: `${name}, guardStreams`,
    serve: (url, settings) =>
      serveHttp1(naive(url, settings, guardKoa(guarding(settings))).callback(), settings),
  })

  describeContract({
    ...guard,
    name: `${name}, wrapApp: the guard`,
    serve: (url, settings) => serveHttp1(wrapKoa(naive(url, settings), guarding(settings)), settings),
  })
}

/** An instance that a server of the test's own feeds. */
async function serveFastify(app: FastifyInstance, settings: MountSettings) {
  await app.ready()
  return serveHttp1((request, response) => app.routing(request, response), settings)
}

for (const [how, add] of [
  ['a handler', (app, stream) => app.post(path, stream)],
  [
    'a preHandler',
    (app, stream) =>
      app.post(path, { preHandler: stream }, (_request, reply) =>
        reply.type('application/json').send(jsonAnswer),
      ),
  ],
] as [string, (app: FastifyInstance, stream: ReturnType<typeof fastifyStream>) => unknown][]) {
  describeContract({
    ...route,
    name: `Fastify, ${how}`,
    serve: (url, settings) => {
      const app = Fastify()
      const stream = fastifyStream(
        (stream, request, { raw: response }) =>
          relayChat(stream, { upstreamUrl: url, body: request.body as object, response, settings }),
        detecting(settings),
      )
      add(app, stream)
      app.setNotFoundHandler((_request, reply) => reply.code(200).type('application/json').send(jsonAnswer))
      return serveFastify(app, settings)
    },
  })
}

/** An app that is not edited: it takes its replies from Fastify, and rejects. */
const naiveFastify = (app: FastifyInstance, url: string, { hookInside }: MountSettings) => {
  app.post(path, async (request, reply) => {
    const body = request.body as object
    hookInside?.(reply.raw)
    reply.hijack()
    await answerNaively(body, chatUrl(url, body), request.raw, reply.raw)
  })
  return app
}

describeContract({
  ...guard,
  name: 'Fastify, the plugin',
  serve: (url, settings) => {
    const app = Fastify()
    app.register(fastifyPlugin, guarding(settings))
    return serveFastify(naiveFastify(app, url, settings), settings)
  },
})

describeContract({
  ...guard,
  name: 'Fastify, guardStreams',
  serve: (url, settings) => {
    const app = Fastify()
    app.register(guardFastify(guarding(settings)))
    return serveFastify(naiveFastify(app, url, settings), settings)
  },
})

describeContract({
  ...guard,
  name: 'Fastify, wrapApp: the guard',
  serve: (url, settings) =>
    serveHttp1(wrapFastify(naiveFastify(Fastify(), url, settings), guarding(settings)), settings),
})

for (const [name, serve] of [
  ['node:http', serveHttp1],
  ['node:http2', serveHttp2],
] as const) {
  describeContract({
    ...route,
    detects: false,
    name,
    serve: (url, settings) =>
      serve(async (request, response) => {
        const body = await readBody(request)
        if (body.stream !== true) {
          response.writeHead(200, { 'content-type': 'application/json' }).end(jsonAnswer)
          return
        }
        const handler = (stream: Parameters<typeof relayChat>[0]) =>
          relayChat(stream, { upstreamUrl: url, body, response, settings })
        await handleStream(response, handler, options(settings))
      }, settings),
  })

  for (const [how, relay, kind] of [
    ['', writeByHand, guard],
    [', pipe', pipe, piping],
    [', pipeline', pipeThrough, pipeline],
  ] as const) {
    describeContract({
      ...kind,
      name: `${name}, wrapApp: the guard${how}`,
      serve: (url, settings) =>
        serve(
          wrapApp(async (request, response) => {
            const body = await readBody(request)
            settings.hookInside?.(response)
            await answerBy(relay, body, chatUrl(url, body), request, response)
          }, guarding(settings)),
          settings,
        ),
    })
  }
}
