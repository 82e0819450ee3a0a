import Koa3 from 'koa'
import koaBodyParser from 'koa-bodyparser'
import Koa2 from 'koa2'
import { expect } from 'vitest'
import {
  createStreamMiddleware as expressStream,
  guardStreams as guardExpress,
  wrapApp as wrapExpress,
} from '../../src/adapters/express.js'
import {
  guardStreams as guardKoa,
  createStreamMiddleware as koaStream,
  wrapApp as wrapKoa,
} from '../../src/adapters/koa.js'
import { handleStream, wrapApp } from '../../src/index.js'
import { describeContract, jsonAnswer, type MountSettings } from '../support/adapter-contract.js'
import { expressVersions } from '../support/express-versions.js'
import { answerNaively, readBody, relayChat, serveHttp1, serveHttp2 } from '../support/mounts.js'

const path = '/v1/chat/completions'

function options({ onEnd, timeouts, heartbeatMs }: MountSettings) {
  return { onEnd, timeouts, writer: heartbeatMs === undefined ? {} : { heartbeatMs } }
}

for (const [name, express] of expressVersions) {
  describeContract({
    name,
    serve: (url, settings) =>
      serveHttp1(
        express().post(
          path,
          express.json(),
          expressStream((stream) => relayChat(stream, url), options(settings)),
          (_request, response) => void response.type('json').send(jsonAnswer),
        ),
      ),
  })

  /** An app nobody edits: its handler rejects when its upstream breaks, which Express 4 does not notice. */
  const app = (url: string) =>
    express().post(path, express.json(), async (request, response) => {
      await answerNaively(request.body, url, request, response)
    })

  describeContract({
    name: `${name}, guardStreams`,
    serve: (url, settings) => serveHttp1(express().use(guardExpress(options(settings)), app(url))),
  })

  describeContract({
    name: `${name}, wrapApp: the guard`,
    serve: (url, settings) => serveHttp1(wrapExpress(app(url), options(settings))),
  })
}

for (const [name, Koa] of [
  ['Koa 3', Koa3],
  ['Koa 2', Koa2],
] as const) {
  describeContract({
    name,
    serve: async (url, settings) => {
      const app = new Koa().use(koaBodyParser())
      const reported: Error[] = []
      app.on('error', (error) => reported.push(error))
      app.use(koaStream((stream) => relayChat(stream, url), options(settings)))
      app.use((context) => {
        context.type = 'json'
        context.body = jsonAnswer
      })
      const server = await serveHttp1(app.callback())
      return {
        ...server,
        async [Symbol.asyncDispose]() {
          await server[Symbol.asyncDispose]()
          // Koa itself reports a connection that its client reset. What the handler did is no concern of Koa's.
          for (const error of reported) expect(error).toMatchObject({ code: 'ECONNRESET' })
        },
      }
    },
  })

  /** An app nobody edits: it takes the response from Koa, and throws. */
  const naive = (url: string, ...first: Parameters<Koa3['use']>[0][]) => {
    const app = new Koa()
    app.silent = true
    for (const middleware of first) app.use(middleware)
    return app.use(koaBodyParser()).use(async (context) => {
      context.respond = false
      await answerNaively(context.request.body as object, url, context.req, context.res)
    })
  }

  describeContract({
    name: `${name}, guardStreams`,
    serve: (url, settings) => serveHttp1(naive(url, guardKoa(options(settings))).callback()),
  })

  describeContract({
    name: `${name}, wrapApp: the guard`,
    serve: (url, settings) => serveHttp1(wrapKoa(naive(url), options(settings))),
  })
}

for (const [name, serve] of [
  ['node:http', serveHttp1],
  ['node:http2', serveHttp2],
] as const) {
  describeContract({
    name,
    serve: (url, settings) =>
      serve(async (request, response) => {
        if ((await readBody(request)).stream !== true) {
          response.writeHead(200, { 'content-type': 'application/json' }).end(jsonAnswer)
          return
        }
        await handleStream(response, (stream) => relayChat(stream, url), options(settings))
      }),
  })

  describeContract({
    name: `${name}, wrapApp: the guard`,
    serve: (url, settings) =>
      serve(
        wrapApp(
          async (request, response) => answerNaively(await readBody(request), url, request, response),
          options(settings),
        ),
      ),
  })
}
