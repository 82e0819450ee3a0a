import type { Application, ErrorRequestHandler, Request, RequestHandler, Response } from 'express'
import { guardResponse } from '../guard/guard-response.js'
import { checkCalled, type GuardOptions, readGuardOptions } from '../guard/request.js'
import { type AppListener, checkApp, wrapApp as wrapListener } from '../guard/wrap-app.js'
import { guards } from '../registry.js'
import { runStream } from '../stream/handle-stream.js'
import { checkMiddleware, type MiddlewareOptions } from '../stream/middleware-options.js'
import type { StreamContext } from '../stream/stream-context.js'
import { passRejectionsOn } from './express4.js'

/** The options of {@link createStreamMiddleware}; functions among them get the request. */
export type StreamMiddlewareOptions<AppRequest = Request> = MiddlewareOptions<AppRequest>

/**
 * A streaming route: requests that want a stream are answered by `handler`, all others go to `next()`.
 *
 * Errors of the handler do not reach Express: its own error handler would cut the connection.
 *
 * @param handler fills the stream; it is complete when the handler returns, or at the terminal event
 * @throws TypeError | RangeError that names the option and the value
 * @example
 * app.post('/v1/chat/completions', express.json(), createStreamMiddleware(async ({ relay, signal }, request) => {
 *   await relay(await fetch(upstreamUrl, { method: 'POST', body: JSON.stringify(request.body), signal }))
 * }))
 */
export function createStreamMiddleware<
  Params = Request['params'],
  ResBody = unknown,
  // biome-ignore lint/suspicious/noExplicitAny: Express' own types have it
  ReqBody = any,
  Query = Request['query'],
  // biome-ignore lint/suspicious/noExplicitAny: Express' own types have it
  Locals extends Record<string, any> = Record<string, any>,
>(
  handler: (
    stream: StreamContext,
    request: Request<Params, ResBody, ReqBody, Query, Locals>,
    response: Response<ResBody, Locals>,
  ) => unknown,
  options: StreamMiddlewareOptions<Request<Params, ResBody, ReqBody, Query, Locals>> = {},
): RequestHandler<Params, ResBody, ReqBody, Query, Locals> {
  const { wantsStream, settingsFor, modelOf } = checkMiddleware(handler, options, (request) => request.body)
  return (request, response, next) => {
    if (!wantsStream(request)) return next()
    const call = { model: modelOf(request) }
    runStream(response, (stream) => handler(stream, request, response), settingsFor(request), call).catch(
      next,
    )
  }
}

/**
 * Protects routes that already exist, untouched: mount it first, `app.use(guardStreams())`. Every handler after
 * it that writes an event stream to its response gets the promises of `handleStream`; every other response
 * passes as it is.
 *
 * @throws TypeError | RangeError that names the option and the value
 */
export function guardStreams(options: GuardOptions = {}, ...more: never[]): RequestHandler {
  checkCalled(more)
  const settings = readGuardOptions(options)
  return (request, response, next) => {
    const guard = guardResponse(request, response, settings)
    if (guard.refused) return
    catchErrors(request.app)
    next()
  }
}

/**
 * Protects a whole app that cannot be edited: `http.createServer(wrapApp(app))`. Takes an Express app, or any
 * listener of `node:http`.
 *
 * @throws TypeError | RangeError that names the option and the value
 */
export function wrapApp(
  app: Application | Parameters<typeof wrapListener>[0],
  options: GuardOptions = {},
): AppListener {
  const listener = app as Parameters<typeof wrapListener>[0] & Partial<Application>
  checkApp(listener)
  return wrapListener((request, response) => {
    if (typeof listener.use === 'function') catchErrors(listener as unknown as Application)
    return listener(request, response)
  }, options)
}

const answerLast: ErrorRequestHandler = (error, _request, response, next) => {
  if (!guards().get(response)?.answer(error)) next(error)
}

/**
 * Express' own last error handler cuts the connection once the head is sent. One of ours stands before it, and
 * goes to the end again when the app has got more routes.
 */
function catchErrors(app: Application): void {
  const { _router } = app as { _router?: { stack: { handle: unknown }[] } }
  // Express 4 throws for `router`, Express 5 has no other.
  const stack = _router?.stack ?? ('lazyrouter' in app ? [] : (app.router?.stack ?? []))
  if (stack.at(-1)?.handle === answerLast) return
  const place = stack.findIndex(({ handle }) => handle === answerLast)
  if (place !== -1) stack.splice(place, 1)
  app.use(answerLast)
  passRejectionsOn(app)
}
