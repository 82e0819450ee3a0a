import type { Application, Request, RequestHandler, Response } from 'express'
import { catchExpressErrors } from '../guard/express-app.js'
import { guardResponse } from '../guard/guard-response.js'
import { checkCalled, type GuardOptions, readGuardOptions } from '../guard/request.js'
import { type AppListener, wrapApp as wrapListener } from '../guard/wrap-app.js'
import { runStream } from '../stream/handle-stream.js'
import { checkMiddleware, type MiddlewareOptions } from '../stream/middleware-options.js'
import type { StreamContext } from '../stream/stream-context.js'

/**
 * The options of {@link createStreamMiddleware}; its functions get the request.
 *
 * @example
 * const options: StreamMiddlewareOptions = {
 *   when: 'always',
 *   timeouts: ({ path }) => (path.endsWith('/research') ? 'advanced' : 'streaming'),
 * }
 */
export type StreamMiddlewareOptions<AppRequest = Request> = MiddlewareOptions<AppRequest>

/**
 * Creates a streaming route: `handler` serves the requests that want a stream, all others go to `next()`.
 *
 * Errors of the handler do not reach Express, whose own error handler would cut the connection.
 *
 * @param handler fills the stream; the stream is complete when the handler returns, or at the terminal event
 * @throws TypeError | RangeError that names the option and the value
 * @example
 * app.post(
 *   '/v1/chat/completions',
 *   express.json(),
 *   createStreamMiddleware(async ({ relay, signal }, request) => {
 *     await relay(await fetch(url, { method: 'POST', body: JSON.stringify(request.body), signal }))
 *   }),
 * )
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
 * Protects every route mounted after it; your handlers stay as they are.
 *
 * Every handler that writes an event stream gets the right headers, heartbeats and deadlines. If something fails
 * mid-stream, the client gets an error event and a clean end. Every other response stays as it is.
 *
 * @throws TypeError | RangeError that names the option and the value
 * @example
 * app.use(guardStreams())
 */
export function guardStreams(options: GuardOptions = {}, ...more: never[]): RequestHandler {
  checkCalled(more)
  const settings = readGuardOptions(options)
  return (request, response, next) => {
    const guard = guardResponse(request, response, settings)
    if (guard.refused) return
    catchExpressErrors(request.app)
    guard.enter(next)
  }
}

/**
 * Protects a whole app that cannot be edited, as {@link guardStreams} does.
 *
 * @param app an Express app, or any request listener of `node:http`
 * @throws TypeError | RangeError that names the option and the value
 * @example
 * http.createServer(wrapApp(app)).listen(3000)
 */
export function wrapApp(
  app: Application | Parameters<typeof wrapListener>[0],
  options: GuardOptions = {},
): AppListener {
  return wrapListener(app as Parameters<typeof wrapListener>[0], options)
}
