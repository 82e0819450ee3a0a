import { shown } from '../errors/bad-input.js'
import { type Guarded, guards } from '../registry.js'
import type { StreamDeadlines } from '../timeouts/stream-deadlines.js'

/** The stream of a guarded request, as its handler sees it; {@link getStream} returns it. */
export interface GuardedStream {
  /** Aborts when the client leaves or a deadline passes; pass it to every upstream call. */
  readonly signal: AbortSignal
  /** The deadline that the stream is waiting for, and how long the stream has been running. */
  readonly deadlines: StreamDeadlines
  /** The id of the stream in logs, records and `x-request-id`. */
  readonly requestId: string
}

/**
 * Returns the stream of a guarded request: its signal, deadlines and id; `undefined` if no guard watches the request.
 *
 * @param request the request of `node:http` or of a fetch handler; in Koa and Hono the context or its request
 * @throws TypeError for anything that is not an object
 * @example
 * console.log(getStream(request)?.requestId, getStream(request)?.deadlines.elapsedMs)
 */
export function getStream(request: object): GuardedStream | undefined {
  return streamOf(request, 'getStream')
}

function streamOf(request: object, call: string): GuardedStream | undefined {
  const { req, raw = req } = Object(request) as { req?: object; raw?: object }
  const inner = (Object(raw) as { raw?: object }).raw ?? raw ?? request
  const { headers } = Object(inner) as { headers?: unknown }
  if (typeof headers === 'object' && headers !== null)
    return guards().get(inner) as (Guarded & GuardedStream) | undefined
  throw new TypeError(`${call}(request) takes a request, got ${shown(request)}`)
}

/**
 * Returns the signal to pass to every upstream call: it aborts when the client leaves or a deadline passes.
 *
 * Without it the model keeps generating, and billing. The signal of a request without a guard never aborts.
 *
 * @param request the request of `node:http` or of a fetch handler; in Koa and Hono the context or its request
 * @throws TypeError for anything that is not an object
 * @example
 * const upstream = await fetch(url, { method: 'POST', signal: getSignal(request) })
 */
export function getSignal(request: object): AbortSignal {
  return streamOf(request, 'getSignal')?.signal ?? new AbortController().signal
}
