import type {
  FastifyInstance,
  FastifyPluginCallback,
  FastifyReply,
  FastifyRequest,
  onErrorHookHandler,
  onRequestHookHandler,
  RouteGenericInterface,
} from 'fastify'
import { setAppRequest } from '../client/app-request.js'
import { shown } from '../errors/bad-input.js'
import { hearFastifyHandlers, readFastify } from '../guard/fastify-handlers.js'
import { guardResponse } from '../guard/guard-response.js'
import { type GuardOptions, readGuardOptions } from '../guard/request.js'
import { type AppListener, wrapApp as wrapListener } from '../guard/wrap-app.js'
import { guards } from '../registry.js'
import { runStream } from '../stream/handle-stream.js'
import { checkMiddleware, type MiddlewareOptions } from '../stream/middleware-options.js'
import type { StreamContext } from '../stream/stream-context.js'

/**
 * The options of {@link createStreamMiddleware}; its functions get the request.
 *
 * @example
 * const options: StreamMiddlewareOptions = {
 *   when: 'always',
 *   timeouts: ({ url }) => (url.endsWith('/research') ? 'advanced' : 'streaming'),
 * }
 */
export type StreamMiddlewareOptions<AppRequest = FastifyRequest> = MiddlewareOptions<AppRequest>

/**
 * Creates a streaming route: `handler` serves the requests that want a stream.
 *
 * As a `preHandler`, it leaves all other requests to the route's own handler. As the route's handler, it sends them 404.
 * Errors of the handler do not reach Fastify, which could only log them.
 *
 * @param handler fills the stream; the stream is complete when the handler returns, or at the terminal event
 * @throws TypeError | RangeError that names the option and the value
 * @example
 * app.post(
 *   '/v1/chat/completions',
 *   createStreamMiddleware(async ({ relay, signal }, request) => {
 *     await relay(await fetch(url, { method: 'POST', body: JSON.stringify(request.body), signal }))
 *   }),
 * )
 */
export function createStreamMiddleware<Route extends RouteGenericInterface = RouteGenericInterface>(
  handler: (stream: StreamContext, request: FastifyRequest<Route>, reply: FastifyReply) => unknown,
  options: StreamMiddlewareOptions<FastifyRequest<Route>> = {},
): (request: FastifyRequest<Route>, reply: FastifyReply, done?: (error?: Error) => void) => void {
  const { wantsStream, settingsFor, modelOf } = checkMiddleware(handler, options, (request) => request.body)
  return (request, reply, done = () => reply.callNotFound()) => {
    if (!wantsStream(request)) return done()
    const call = { model: modelOf(request) }
    const settings = settingsFor(request)
    if (settings.resume) setAppRequest(request.raw, request)
    reply.hijack()
    // Headers of other plugins, say for CORS, would stay behind with the reply.
    for (const [name, value] of Object.entries(reply.getHeaders()))
      if (value !== undefined) reply.raw.setHeader(name, value)
    void runStream(reply.raw, (stream) => handler(stream, request, reply), settings, call)
  }
}

/**
 * Creates a plugin that protects every route of the instance that it is registered on; your handlers stay as they are.
 *
 * Every handler that sends an event stream gets the right headers, heartbeats and deadlines. If something fails
 * mid-stream, the client gets an error event and a clean end. Every other response stays as it is.
 *
 * @throws TypeError | RangeError that names the option and the value
 * @example
 * app.register(guardStreams())
 */
export function guardStreams(options: GuardOptions = {}): FastifyPluginCallback {
  const settings = readGuardOptions(options)
  return forInstance<FastifyPluginCallback>((app, _options, done) => {
    hearFastifyHandlers()
    app.addHook('onRequest', (request, reply, next) => {
      if (options.resume) setAppRequest(request.raw, request)
      const guard = guardResponse(request.raw, reply.raw, settings)
      if (guard.refused) return void reply.hijack()
      readFastify({ request, reply })
      guard.enter(next)
    })
    app.addHook('onError', respond)
    done()
  })
}

const unhang: FastifyPluginCallback<GuardOptions> = (app, options, done) =>
  guardStreams(options)(app, {}, done)

/**
 * The plugin of {@link guardStreams}: it takes its options from `register`.
 *
 * @throws TypeError | RangeError from `app.ready()`, that names the option and the value
 * @example
 * import unhang from 'unhang/fastify'
 *
 * app.register(unhang, { writer: { heartbeatMs: 10_000 } })
 */
export default forInstance(unhang)

/**
 * Protects a whole app that cannot be edited, as {@link guardStreams} does.
 *
 * @param app a Fastify instance, or the handler that a `serverFactory` gets
 * @throws TypeError | RangeError that names the option and the value
 * @example
 * http.createServer(wrapApp(app)).listen(3000)
 */
export function wrapApp(
  app: FastifyInstance | Parameters<typeof wrapListener>[0],
  options: GuardOptions = {},
): AppListener {
  hearFastifyHandlers()
  if (typeof app === 'function') return wrapListener(app, options)
  if (typeof app?.routing !== 'function')
    throw new TypeError(`app must be a Fastify instance, got ${shown(app)}`)
  const listener = wrapListener(async (request, response) => {
    // Not before there is a request: until then the app may get more routes.
    await app.ready()
    app.routing(request, response)
  }, options)
  const readRequest: onRequestHookHandler = (request, reply, next) => {
    if (options.resume) setAppRequest(request.raw, request)
    readFastify({ request, reply })
    next()
  }
  hear(() => app.addHook('onError', respond).addHook('onRequest', readRequest))
  return listener
}

/** Without this a plugin would apply only to the routes that are registered inside it. */
function forInstance<Options extends FastifyPluginCallback<never>>(plugin: Options): Options {
  const meta = { name: 'unhang', fastify: '>=5' }
  return Object.assign(plugin, { [Symbol.for('skip-override')]: true, [Symbol.for('plugin-meta')]: meta })
}

/** An error handler of the app's that sends a response of its own has the word: Fastify then does not ask this hook. */
const respond: onErrorHookHandler = (_request, reply, error, done) => {
  guards().get(reply.raw)?.respond(error)
  done()
}

/** An app that has begun takes no more hooks: to a failure before its headers it responds itself. */
function hear(addHook: () => unknown): void {
  try {
    addHook()
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'FST_ERR_INSTANCE_ALREADY_LISTENING') throw error
  }
}
