import { propertyOf } from '../errors/cause-chain.js'
import { toStreamError } from '../errors/classify.js'
import type { StreamError } from '../errors/stream-error.js'
import type { TimeoutCoordinator } from '../timeouts/timeout-coordinator.js'
import { releaseUpstream } from './cleanup.js'
import { readFailure, readUpstreamError } from './error-response.js'
import { openSource, type UpstreamSource } from './source.js'
import { isStaleConnection } from './watch-connect.js'

/** One call of an upstream, as {@link OpenAttempt} gets it. */
export interface UpstreamCall {
  /** Aborts when this call must stop; pass it to the client instead of the stream's own signal. */
  readonly signal: AbortSignal
  /** Which call this is, from 1. */
  readonly attempt: number
}

/**
 * Makes one call of an upstream; a response with an error status counts as a failure.
 *
 * @example
 * const open: OpenAttempt<Response> = ({ signal }) => fetch(url, { signal })
 */
export type OpenAttempt<T> = (call: UpstreamCall) => Promise<T>

const lingerMs = 1_000

/** The result of one call; `stale`: it met a keep-alive connection that the upstream had closed. */
type Outcome<T> = { upstream: T } | { failure: StreamError; stale: boolean }

/**
 * Makes one call of an upstream.
 *
 * @param caller ends the call, and its response once there is no stream that does
 */
export async function callOnce<T extends UpstreamSource>(
  open: OpenAttempt<T>,
  attempt: number,
  timeouts: TimeoutCoordinator,
  caller?: AbortSignal,
): Promise<Outcome<T>> {
  const controller = new AbortController()
  // Of its own, so that nothing stays on the caller's: that may live as long as the app.
  const signal = caller ? AbortSignal.any([caller, controller.signal]) : controller.signal
  const stop = () => controller.abort(timeouts.signal.reason)
  let endAttempt = () => {}
  const expired = new Promise<never>((_resolve, reject) => {
    endAttempt = timeouts.attemptStarted((reason) => {
      controller.abort(reason)
      reject(reason)
    })
  })
  // It may reject when the call has settled and nothing waits for it.
  expired.catch(() => {})
  timeouts.signal.addEventListener('abort', stop)
  if (timeouts.reason) stop()
  const reading = { signal: timeouts.signal, onChunk: () => timeouts.touch() }
  /** Read to its end, its connection serves the next attempt. */
  const failureOf = async (read: Promise<StreamError>, held: unknown): Promise<StreamError> => {
    try {
      return await read
    } catch (error) {
      return toStreamError(error)
    } finally {
      timeouts.signal.removeEventListener('abort', stop)
      if (typeof held === 'object' && held !== null) releaseUpstream(held, { lingerMs }).catch(ignore)
    }
  }
  let isOver = false
  try {
    const opening = Promise.resolve(open({ signal, attempt }))
    // One that comes when no caller waits for it any more is let go at once.
    opening.then((late) => {
      if (isOver && typeof late === 'object') releaseUpstream(late).catch(ignore)
    }, ignore)
    const upstream = await timeouts.run(Promise.race([opening, expired]))
    const { status } = openSource(upstream)
    if (status === undefined || (status >= 200 && status <= 299)) return { upstream }
    return { failure: await failureOf(readUpstreamError(upstream, reading), upstream), stale: false }
  } catch (error) {
    isOver = true
    const response = propertyOf(error, 'response')
    const failure = await failureOf(readFailure(error, reading), response ?? error)
    return { failure, stale: isStaleConnection(error) }
  } finally {
    endAttempt()
  }
}

function ignore(): void {}
