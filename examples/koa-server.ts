import cors from '@koa/cors'
import Router from '@koa/router'
import Koa, { type Context, type Middleware } from 'koa'
import bodyParser from 'koa-bodyparser'
import { respondWithError } from 'unhang'
import { createStreamMiddleware } from 'unhang/koa'
import { metrics } from './monitoring/prometheus.js'
import { modelList } from './qolaba/models.js'
import { type ChatCall, ChatProxy } from './server/chat.js'
import { openAIError } from './server/openai-error.js'
import { type AppSettings, run } from './server/run.js'

/** An OpenAI-compatible proxy for Qolaba. */
function createApp(settings: AppSettings) {
  const proxy = new ChatProxy(settings)
  const { access, timeouts, writer, resume } = settings
  const app = new Koa()
  const router = new Router()

  app.use(async (context, next) => {
    try {
      await next()
      if (context.respond === false || context.body !== undefined || context.status !== 404) return
      throw openAIError(404, `There is no ${context.method} ${context.path}.`)
    } catch (error) {
      context.respond = false
      respondWithError(error, context.res, { dialect: 'openaiChat' })
    }
  })
  app.use((context, next) => {
    access.checkOrigin(context.req)
    return next()
  })
  app.use(
    cors({
      origin: (context) => access.allowedOrigin(context.get('origin')),
      exposeHeaders: ['x-request-id', 'retry-after', 'unhang-stream'],
    }),
  )

  router.get('/health', (context) => {
    context.body = { status: 'ok' }
  })

  router.get('/metrics', async (context) => {
    access.checkLocal(context.req)
    context.type = metrics.contentType
    context.body = await metrics.text()
  })

  const requireKey: Middleware = (context, next) => {
    context.state.key = proxy.readKey(context.req)
    return next()
  }
  const readChat: Middleware = (context, next) => {
    context.state.chat = proxy.readChat(context.request.body, context.res)
    return next()
  }

  router.get('/v1/models', requireKey, (context) => {
    context.body = modelList
  })

  router.post(
    '/v1/chat/completions',
    requireKey,
    bodyParser({ jsonLimit: '20mb', enableTypes: ['json'], onerror: refuseBody }),
    readChat,
    createStreamMiddleware((stream, { state }) => proxy.stream(stream, state as ChatCall), {
      timeouts,
      writer,
      resume,
    }),
    async (context: Context) => {
      context.respond = false
      await proxy.answer(context.res, context.state as ChatCall)
    },
  )

  if (resume) {
    router.get('/v1/streams/:id', requireKey, resume.rejoin())
    router.delete('/v1/streams/:id', requireKey, resume.stop())
  }

  return app.use(router.routes()).callback()
}

/** The body parser's own errors do not say that a client may read them. */
function refuseBody({ message, status = 400 }: Error & { status?: number }): never {
  throw openAIError(status, message)
}

run(createApp)
