import cors from 'cors'
import express, { type ErrorRequestHandler, type RequestHandler } from 'express'
import { respondWithError } from 'unhang'
import { createStreamMiddleware } from 'unhang/express'
import { QolabaClient } from './qolaba/client.js'
import { modelList } from './qolaba/models.js'
import { type Chat, toOpenAIChunks, toOpenAICompletion, toQolaba } from './qolaba/translate.js'
import { answerJson } from './server/answer-json.js'
import { openAIError } from './server/openai-error.js'
import { type AppSettings, run } from './server/run.js'

/** An OpenAI-compatible proxy for Qolaba. */
function createApp({ baseUrl, apiKey, timeouts, writer }: AppSettings) {
  const qolaba = new QolabaClient(baseUrl)
  const app = express()
  app.disable('x-powered-by')
  app.use(cors({ exposedHeaders: ['x-request-id', 'retry-after'] }))

  app.get('/health', (_request, response) => void response.json({ status: 'ok' }))

  const requireKey: RequestHandler = (request, response, next) => {
    const [, key = apiKey] = /^Bearer +(\S+)/i.exec(request.headers.authorization ?? '') ?? []
    response.locals.key = apiKey ?? key
    next(
      response.locals.key
        ? undefined
        : openAIError(401, 'An API key is missing: send Authorization: Bearer KEY.'),
    )
  }
  const readChat: RequestHandler = (request, response, next) => {
    const chat = toQolaba(request.body)
    if (chat.ignored.length > 0) response.set('x-ignored-parameters', chat.ignored.join(', '))
    response.locals.chat = chat
    next()
  }

  app.get('/v1/models', requireKey, (_request, response) => void response.json(modelList))

  app.post(
    '/v1/chat/completions',
    requireKey,
    express.json({ limit: '20mb' }),
    readChat,
    createStreamMiddleware(
      async ({ openUpstream, relay, signal, timeouts }, _request, { locals: { chat, key } }) => {
        const upstream = await openUpstream(() => qolaba.streamChat(chat.body, { key, signal, timeouts }))
        await relay(upstream, toOpenAIChunks(chat))
      },
      { timeouts, writer },
    ),
    (_request, response) => {
      const { chat, key } = response.locals as { chat: Chat; key: string }
      return answerJson(
        response,
        async (call) => toOpenAICompletion(chat, await qolaba.chat(chat.body, { key, ...call })),
        { model: chat.model, timeouts },
      )
    },
  )

  app.use(({ method, path }, _response, next) => next(openAIError(404, `There is no ${method} ${path}.`)))
  const answerError: ErrorRequestHandler = (error, _request, response, _next) => {
    respondWithError(error, response, { dialect: 'openaiChat' })
  }
  app.use(answerError)
  return app
}

run(createApp)
