import type Koa from 'koa'
import type { Context, DefaultContext, DefaultState, Middleware, ParameterizedContext } from 'koa'
import { setAppRequest } from '../client/app-request.js'
import { shown } from '../errors/bad-input.js'
import { guardResponse } from '../guard/guard-response.js'
import { checkCalled, type GuardOptions, readGuardOptions } from '../guard/request.js'
import { type AppListener, wrapApp as wrapListener } from '../guard/wrap-app.js'
import { guards } from '../registry.js'
import { runStream } from '../stream/handle-stream.js'
import { checkMiddleware, type MiddlewareOptions } from '../stream/middleware-options.js'
import type { StreamContext } from '../stream/stream-context.js'

/**
 * The options of {@link createStreamMiddleware}; its functions get the context.
 *
 * @example
 * const options: StreamMiddlewareOptions = {
 *   when: 'always',
 *   timeouts: ({ path }) => (path.endsWith('/research') ? 'advanced' : 'streaming'),
 * }
 */
export type StreamMiddlewareOptions<AppContext = Context> = MiddlewareOptions<AppContext>

/**
 * Creates a streaming route: `handler` serves the requests that want a stream, all others go to `next()`.
 *
 * Errors of the handler do not reach Koa, which would leave the response open. The middleware is done when the
 * stream is.
 *
 * @param handler fills the stream; the stream is complete when the handler returns, or at the terminal event
 * @throws TypeError | RangeError that names the option and the value
 * @example
 * app.use(bodyParser())
 * app.use(
 *   createStreamMiddleware(async ({ relay, signal }, { request }) => {
 *     await relay(await fetch(url, { method: 'POST', body: JSON.stringify(request.body), signal }))
 *   }),
 * )
 */
export function createStreamMiddleware<State = DefaultState, Extension = DefaultContext>(
  handler: (stream: StreamContext, context: ParameterizedContext<State, Extension>) => unknown,
  options: StreamMiddlewareOptions<ParameterizedContext<State, Extension>> = {},
): Middleware<State, Extension> {
  const { wantsStream, settingsFor, modelOf } = checkMiddleware(handler, options, parsedBody)
  return async (context, next) => {
    if (!wantsStream(context)) return next()
    const settings = settingsFor(context)
    const model = modelOf(context)
    context.respond = false
    if (settings.resume) setAppRequest(context.req, context)
    await runStream(context.res, (stream) => handler(stream, context), settings, { model })
  }
}

/** The body parsers of Koa add it; Koa's own types do not know. */
function parsedBody({ request }: { request: object }): unknown {
  return (request as { body?: unknown }).body
}

/**
 * Protects every middleware mounted after it; your handlers stay as they are.
 *
 * Every middleware that writes an event stream, to `context.body` or to `context.res`, gets the right headers,
 * heartbeats and deadlines. If something fails mid-stream, the client gets an error event and a clean end. Every
 * other response stays as it is.
 *
 * @throws TypeError | RangeError that names the option and the value
 * @example
 * app.use(guardStreams())
 */
export function guardStreams(options: GuardOptions = {}, ...more: never[]): Middleware {
  checkCalled(more)
  const settings = readGuardOptions(options)
  return async (context, next) => {
    const guard = guardResponse(context.req, context.res, settings)
    if (guard.refused) {
      context.respond = false
      return
    }
    catchErrors(context.app)
    readBodyOf(context)
    if (settings.resume) setAppRequest(context.req, context)
    try {
      await guard.enter(next)
    } catch (error) {
      if (!guard.respond(error)) throw error
      // A listener for the app's errors gets this one, too.
      context.app.emit('error', error, context)
    }
    if (guard.refused) context.respond = false
  }
}

/**
 * Protects a whole app that cannot be edited, as {@link guardStreams} does.
 *
 * @throws TypeError | RangeError that names the option and the value
 * @example
 * http.createServer(wrapApp(app)).listen(3000)
 */
export function wrapApp(app: Koa, options: GuardOptions = {}): AppListener {
  if (typeof app?.callback !== 'function') throw new TypeError(`app must be a Koa app, got ${shown(app)}`)
  app.middleware.unshift((context, next) => {
    readBodyOf(context)
    if (options.resume) setAppRequest(context.req, context)
    return next()
  })
  // First: without a listener Koa attaches its own, which prints.
  const listener = app.callback()
  catchErrors(app)
  return wrapListener(listener, options)
}

/** The body parsers of Koa keep the body away from the request of `node:http`. */
function readBodyOf(context: Context): void {
  const body = () => parsedBody(context) ?? (context.req as { body?: unknown }).body
  guards().get(context.res)?.readBodyFrom(body)
}

const caught = new WeakSet<object>()

/** Koa leaves a response open when an error comes after its head; all it does is to say so. */
function catchErrors(app: Koa): void {
  if (caught.has(app)) return
  caught.add(app)
  app.on('error', (error: unknown, context?: Context) => {
    const guard = context && guards().get(context.res)
    guard?.respond(error)
  })
}
