import { shown } from '../errors/bad-input.js'
import { checkRequest } from './call.js'
import { readWebGuard, type WebGuardOptions } from './guard-options.js'
import { guardRequest, skipRequest } from './guard-request.js'

/** A fetch handler; its server decides the arguments behind the request. */
export type FetchHandler<Rest extends unknown[] = never[]> = (
  request: Request,
  ...rest: Rest
) => Response | PromiseLike<Response>

/** An app with a fetch handler, such as one of Hono or a Worker. */
export interface FetchApp<Rest extends unknown[] = never[]> {
  /** Responds to a request. */
  fetch: FetchHandler<Rest>
}

/**
 * Protects a fetch handler, or an app that has one.
 *
 * Every event stream that it responds with gets the right headers, heartbeats and deadlines. If something fails
 * mid-stream, the client gets an error event and a clean end. Every other response stays as it is.
 *
 * @throws TypeError | RangeError that names the option and the value
 * @example
 * export const POST = wrapApp((request) => fetch(url, { method: 'POST', signal: getSignal(request) }))
 */
export function wrapApp<Rest extends unknown[]>(
  app: FetchHandler<Rest> | FetchApp<Rest>,
  options: WebGuardOptions = {},
): (request: Request, ...rest: Rest) => Promise<Response> {
  const handle = handlerOf(app)
  const { when, detect, isSkipped, settingsFor } = readWebGuard(options)
  return async (request, ...rest) => {
    checkRequest('request', request)
    const call = { request, bindings: rest[0], handle: () => handle(request, ...rest) }
    if (isSkipped(request)) return await skipRequest(call)
    return await guardRequest({ ...call, settings: settingsFor(request), when, detect })
  }
}

function handlerOf<Rest extends unknown[]>(app: FetchHandler<Rest> | FetchApp<Rest>): FetchHandler<Rest> {
  if (typeof app === 'function') return app
  if (typeof Object(app).fetch === 'function') return (request, ...rest) => app.fetch(request, ...rest)
  throw new TypeError(`app must be a fetch handler, or an object with one, got ${shown(app)}`)
}
