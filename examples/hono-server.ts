import type { ServerResponse } from 'node:http'
import { createGunzip } from 'node:zlib'
import { getRequestListener, type HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { type Context, Hono, type MiddlewareHandler } from 'hono'
import { cors } from 'hono/cors'
import { detectStreamingRequest, handleStream, respondWithError, wrapApp } from 'unhang'
import { metrics } from './monitoring/prometheus.js'
import { modelList } from './qolaba/models.js'
import { ChatProxy } from './server/chat.js'
import { openAIError } from './server/openai-error.js'
import { type AppSettings, run } from './server/run.js'

type Env = { Bindings: HttpBindings; Variables: { key: string } }

/** An OpenAI-compatible proxy for Qolaba. */
function createApp(settings: AppSettings) {
  const proxy = new ChatProxy(settings)
  const { access, timeouts, writer, resume } = settings
  const app = new Hono<Env>()
  app.use(async ({ env }, next) => {
    access.checkOrigin(env.incoming)
    await next()
  })
  app.use(
    cors({
      origin: (origin) => access.allowedOrigin(origin),
      exposeHeaders: ['x-request-id', 'retry-after', 'unhang-stream'],
    }),
  )

  app.get('/health', (context) => context.json({ status: 'ok' }))

  app.get('/metrics', async (context) => {
    access.checkLocal(context.env.incoming)
    return context.body(await metrics.text(), 200, { 'content-type': metrics.contentType })
  })

  const requireKey: MiddlewareHandler<Env> = async (context, next) => {
    context.set('key', proxy.readKey(context.env.incoming))
    await next()
  }

  app.get('/v1/models', requireKey, (context) => context.json(modelList))

  app.post('/v1/chat/completions', requireKey, async (context) => {
    const { method, url, headers } = context.env.incoming
    const body = await readJson(context.env)
    const response = takeOver(context)
    const call = { key: context.get('key'), chat: proxy.readChat(body, response) }
    const { model } = call.chat
    if (detectStreamingRequest({ method, url, headers, body }))
      await handleStream(response, (stream) => proxy.stream(stream, call), { model, writer, resume })
    else await proxy.answer(response, call)
    return RESPONSE_ALREADY_SENT
  })

  if (resume) {
    app.get('/v1/streams/:id', requireKey, resume.rejoin())
    app.delete('/v1/streams/:id', requireKey, resume.stop())
  }

  app.notFound(({ req }) => {
    throw openAIError(404, `There is no ${req.method} ${req.path}.`)
  })
  app.onError((error, context) => {
    respondWithError(error, takeOver(context), { dialect: 'openaiChat' })
    return RESPONSE_ALREADY_SENT
  })
  // The options of the guard hold for the streaming route inside it, too, and are checked here.
  return wrapApp(getRequestListener(app.fetch), { timeouts })
}

const maxBytes = 20 * 1024 * 1024

/** Reads a body that is too large to its end: a client that still sends it would see no response. */
async function readJson({ incoming }: HttpBindings): Promise<unknown> {
  const chunks: Buffer[] = []
  let length = 0
  const isPacked = incoming.headers['content-encoding'] === 'gzip'
  for await (const chunk of isPacked ? incoming.pipe(createGunzip()) : incoming) {
    length += chunk.length
    if (length <= maxBytes) chunks.push(chunk)
  }
  if (length > maxBytes) throw openAIError(413, 'The body is too large.')
  try {
    return JSON.parse(Buffer.concat(chunks).toString() || '{}')
  } catch (error) {
    throw openAIError(400, (error as Error).message)
  }
}

/** Node's own response, with the headers that Hono's has got by now. */
function takeOver({ env, res }: Context<Env>): ServerResponse {
  const response = env.outgoing as ServerResponse
  for (const [name, value] of res.headers) response.setHeader(name, value)
  // Hono's cors says so only when the handler has returned.
  response.setHeader('vary', 'Origin')
  return response
}

run(createApp)
