import type { IncomingMessage, ServerResponse } from 'node:http'
import { createGunzip } from 'node:zlib'
import cors from '@fastify/cors'
import Fastify, { type FastifyError, type FastifyReply, type FastifyRequest } from 'fastify'
import { respondWithError } from 'unhang'
import { createStreamMiddleware } from 'unhang/fastify'
import { metrics } from './monitoring/prometheus.js'
import { modelList } from './qolaba/models.js'
import { type ChatCall, ChatProxy } from './server/chat.js'
import { openAIError } from './server/openai-error.js'
import { type AppSettings, run } from './server/run.js'

/** An OpenAI-compatible proxy for Qolaba. */
function createApp(settings: AppSettings) {
  const proxy = new ChatProxy(settings)
  const { access, timeouts, writer, resume } = settings
  const app = Fastify({ bodyLimit: 20 * 1024 * 1024 })
  app.addHook('onRequest', async ({ raw }) => access.checkOrigin(raw))
  app.register(cors, {
    origin: access.origins,
    exposedHeaders: ['x-request-id', 'retry-after', 'unhang-stream'],
  })
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, text, done) => {
    try {
      done(null, text === '' ? {} : JSON.parse(String(text)))
    } catch (error) {
      done(openAIError(400, (error as Error).message))
    }
  })

  app.addHook('preParsing', async ({ headers }, _reply, payload) => {
    if (headers['content-encoding'] !== 'gzip') return payload
    // Fastify would compare it with the length of what comes out.
    headers['content-length'] = undefined
    return payload.pipe(createGunzip())
  })

  app.get('/health', () => ({ status: 'ok' }))

  app.get('/metrics', async ({ raw }, reply) => {
    access.checkLocal(raw)
    return reply.type(metrics.contentType).send(await metrics.text())
  })

  const requireKey = async ({ raw }: FastifyRequest) => void proxy.readKey(raw)

  app.get('/v1/models', { onRequest: requireKey }, () => modelList)

  const calls = new WeakMap<IncomingMessage, ChatCall>()
  const callOf = (request: IncomingMessage) => calls.get(request) as ChatCall
  app.post(
    '/v1/chat/completions',
    {
      onRequest: requireKey,
      preHandler: [
        async ({ raw, body }, reply) => {
          calls.set(raw, { key: proxy.readKey(raw), chat: proxy.readChat(body, reply.raw) })
        },
        createStreamMiddleware((stream, { raw }) => proxy.stream(stream, callOf(raw)), {
          timeouts,
          writer,
          resume,
        }),
      ],
    },
    ({ raw }, reply) => proxy.answer(takeOver(reply), callOf(raw)),
  )

  if (resume) {
    app.get('/v1/streams/:id', { onRequest: requireKey }, resume.rejoin())
    app.delete('/v1/streams/:id', { onRequest: requireKey }, resume.stop())
  }

  app.setNotFoundHandler(({ method, url }) => {
    throw openAIError(404, `There is no ${method} ${url.split('?', 1)[0]}.`)
  })
  app.setErrorHandler((error: FastifyError, _request, reply) => {
    // Fastify's own errors do not say that a client may read them.
    const isOfFastify = error.code?.startsWith('FST_ERR_') === true
    const shown = isOfFastify ? openAIError(error.statusCode ?? 400, error.message) : error
    respondWithError(shown, takeOver(reply), { dialect: 'openaiChat' })
  })
  return async (request: IncomingMessage, response: ServerResponse) => {
    await app.ready()
    app.routing(request, response)
  }
}

/** Node's own response, with the headers that the reply has got by now. */
function takeOver(reply: FastifyReply): ServerResponse {
  reply.hijack()
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    // Fastify closes the connection of a body that is too large: a client that still sends it would see no response.
    if (value !== undefined && name !== 'connection') reply.raw.setHeader(name, value)
  }
  return reply.raw
}

run(createApp)
