import type { Request, RequestHandler, Response } from 'express'
import type { Stream } from '../active-stream.js'
import { detectStreamingRequest, type StreamingHints } from '../detect-streaming-request.js'
import { handleStream } from '../handle-stream.js'
import { checkStreamOptions, type StreamOptions } from '../stream-options.js'
import type { StreamTimeouts } from '../timeout-options.js'

export interface StreamMiddlewareOptions extends Omit<StreamOptions, 'timeouts'> {
  /** Timeouts, `false` for none, or a function that picks them by the request. Default: by the model. */
  timeouts?: StreamOptions['timeouts'] | ((request: Request) => StreamTimeouts | false | undefined)
  /** What counts as a streaming request while the body is unread; `false`: every request streams. */
  detect?: StreamingHints | false | undefined
  /** Finds the requested model. Default: `request.body.model`. */
  model?: ((request: Request) => string | undefined) | undefined
}

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
export function createStreamMiddleware(
  handler: (stream: Stream, request: Request, response: Response) => unknown,
  options: StreamMiddlewareOptions = {},
): RequestHandler {
  if (typeof handler !== 'function') throw new TypeError(`handler must be a function, got ${String(handler)}`)
  const { timeouts, detect, model = modelOf, ...rest } = options
  checkStreamOptions(typeof timeouts === 'function' ? rest : { ...rest, timeouts })
  if (typeof model !== 'function') throw new TypeError(`model must be a function, got ${String(model)}`)
  if (detect !== undefined && detect !== false && (typeof detect !== 'object' || detect === null)) {
    throw new TypeError(`detect must be an object of hints or false, got ${String(detect)}`)
  }
  return (request, response, next) => {
    if (detect !== false && !detectStreamingRequest(request, detect)) return next()
    handleStream(response, (stream) => handler(stream, request, response), {
      ...rest,
      model: model(request),
      timeouts: typeof timeouts === 'function' ? timeouts(request) : timeouts,
    }).catch(next)
  }
}

function modelOf(request: Request): string | undefined {
  const model: unknown = request.body?.model
  return typeof model === 'string' ? model : undefined
}
