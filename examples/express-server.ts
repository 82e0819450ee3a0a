import cors from 'cors'
import express, { type ErrorRequestHandler, type RequestHandler } from 'express'
import { respondWithError } from 'unhang'
import { createStreamMiddleware } from 'unhang/express'
import { metrics } from './monitoring/prometheus.js'
import { modelList } from './qolaba/models.js'
import { type ChatCall, ChatProxy } from './server/chat.js'
import { openAIError } from './server/openai-error.js'
import { type AppSettings, run } from './server/run.js'

/** An OpenAI-compatible proxy for Qolaba. */
function createApp(settings: AppSettings) {
  const proxy = new ChatProxy(settings)
  const { access, timeouts, writer, resume } = settings
  const app = express()
  app.disable('x-powered-by')
  app.use((request, _response, next) => {
    access.checkOrigin(request)
    next()
  })
  app.use(cors({ origin: access.origins, exposedHeaders: ['x-request-id', 'retry-after', 'unhang-stream'] }))

  app.get('/health', (_request, response) => void response.json({ status: 'ok' }))

  app.get('/metrics', async (request, response) => {
    access.checkLocal(request)
    response.type(metrics.contentType).send(await metrics.text())
  })

  const requireKey: RequestHandler = (request, response, next) => {
    response.locals.key = proxy.readKey(request)
    next()
  }
  const readChat: RequestHandler = (request, response, next) => {
    response.locals.chat = proxy.readChat(request.body, response)
    next()
  }

  app.get('/v1/models', requireKey, (_request, response) => void response.json(modelList))

  app.post(
    '/v1/chat/completions',
    requireKey,
    express.json({ limit: '20mb' }),
    readChat,
    createStreamMiddleware(
      (stream, _request, response) => proxy.stream(stream, response.locals as ChatCall),
      { timeouts, writer, resume },
    ),
    (_request, response) => proxy.answer(response, response.locals as ChatCall),
  )

  if (resume) {
    app.get('/v1/streams/:id', requireKey, resume.rejoin())
    app.delete('/v1/streams/:id', requireKey, resume.stop())
  }

  app.use(({ method, path }, _response, next) => next(openAIError(404, `There is no ${method} ${path}.`)))
  const answerError: ErrorRequestHandler = (error, _request, response, _next) => {
    respondWithError(error, response, { dialect: 'openaiChat' })
  }
  app.use(answerError)
  return app
}

run(createApp)
