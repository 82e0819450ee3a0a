import { setTimeout as wait } from 'node:timers/promises'
import { warnOnce } from '../diagnostics/channels.js'
import { toStreamError } from '../errors/classify.js'
import type { StreamError } from '../errors/stream-error.js'
import { isUpstreamError } from '../errors/upstream-error.js'
import type { TimeoutCoordinator } from '../timeouts/timeout-coordinator.js'
import { type ReadEventStreamOptions, readFailure, readUpstreamError } from './answer.js'
import { coordinatedSocketCleanup } from './cleanup.js'
import { openSource, type UpstreamSource } from './source.js'
import { isStaleConnection } from './watch-connect.js'

/** When an upstream is called again. */
export interface RetryOptions {
  /** How often the upstream is called at most. Default 2, and 1 for a client that is calling again itself. */
  attempts?: number | undefined
  /**
   * Whether to call again when the upstream may have begun to work on the request, and bill it: after a hang-up,
   * a 500, 502 or 504. Default `false`.
   */
  retryUncertain?: boolean | undefined
  /** No attempt is begun with less than this left of `totalMs`. Default `connectMs` and a second. */
  minAttemptMs?: number | undefined
}

export interface OpenUpstreamContext {
  timeouts: TimeoutCoordinator
  /** Whether the client is calling again after a failure. */
  isClientRetry: boolean
  /** Whether the client has had a byte: then nothing may be begun again. */
  committed(): boolean
  /** When the head is sent whatever happens, in milliseconds from the start: from then on there is no status. */
  commitAfterMs: number
  /** When the client stops waiting for the head, likewise. */
  clientWaitsMs: number
}

const retryNames = ['attempts', 'retryUncertain', 'minAttemptMs']
const firstBackoffMs = 250
const longestBackoffMs = 4_000
const lingerMs = 1_000

/**
 * Calls an upstream, and calls it again where that is sure to do no harm: when it could not be reached (in time), when
 * it answered 429, 503 or 529 (after its `Retry-After`), and, at once and uncounted, when a kept connection
 * turned out to be closed. Never once the client has had a byte.
 *
 * @param open makes one call, and ends it when `signal` aborts; a response with an error status counts as a failure
 * @throws the last failure, as a StreamError
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
 */
export async function openUpstream<T extends UpstreamSource>(
  open: OpenAttempt<T>,
  { timeouts, committed, commitAfterMs, clientWaitsMs, isClientRetry }: OpenUpstreamContext,
  options: RetryOptions = {},
): Promise<T> {
  for (const name of Object.keys(options)) {
    if (retryNames.includes(name)) continue
    throw new TypeError(`retry.${name} is not an option; there are ${retryNames.join(', ')}`)
  }
  const { attempts = isClientRetry ? 1 : 2, retryUncertain = false } = options
  const { connectMs, firstByteMs, totalMs } = timeouts.timeouts
  const minAttemptMs = options.minAttemptMs ?? (Number.isFinite(connectMs) ? connectMs + 1_000 : 1_000)
  if (!Number.isSafeInteger(attempts) || attempts < 1) {
    throw new TypeError(`retry.attempts must be a whole number from 1, got ${JSON.stringify(attempts)}`)
  }
  if (!(minAttemptMs >= 0)) {
    throw new TypeError(`retry.minAttemptMs must be a number from 0, got ${String(options.minAttemptMs)}`)
  }
  const endsMs = Math.min(totalMs, clientWaitsMs)
  let spareForStale = 1
  for (let attempt = 1; ; attempt++) {
    const outcome = await tryOnce(open, attempt, timeouts)
    if ('upstream' in outcome) return outcome.upstream
    const { failure, stale } = outcome
    if (timeouts.settled || committed()) throw failure
    let delayMs: number | undefined
    if (stale && spareForStale > 0) {
      spareForStale--
      attempt--
      delayMs = 0
    } else if (attempt < attempts) delayMs = delayBefore(attempt, failure, retryUncertain)
    if (delayMs === undefined) throw failure
    const beginsMs = timeouts.elapsedMs + delayMs
    // Meanwhile the head must not be sent: the failure would lose its status. Nor may the first deadline pass.
    if (endsMs - beginsMs < minAttemptMs || beginsMs >= commitAfterMs || delayMs >= firstByteMs) throw failure
    if (delayMs > 0) await wait(delayMs, undefined, { signal: timeouts.signal, ref: false }).catch(() => {})
    if (timeouts.reason) throw timeouts.reason
    if (committed()) throw failure
  }
}

/** Makes one call of an upstream; attempts count from 1. */
export type OpenAttempt<T> = (attempt: number, signal: AbortSignal) => Promise<T>

type Attempt<T> = { upstream: T } | { failure: StreamError; stale: boolean }

async function tryOnce<T extends UpstreamSource>(
  open: OpenAttempt<T>,
  attempt: number,
  timeouts: TimeoutCoordinator,
): Promise<Attempt<T>> {
  const controller = new AbortController()
  const stop = () => controller.abort(timeouts.signal.reason)
  let endAttempt = () => {}
  const expired = new Promise<never>((_resolve, reject) => {
    endAttempt = timeouts.attemptStarted((reason) => {
      controller.abort(reason)
      reject(reason)
    })
  })
  // Nobody may be waiting for it.
  expired.catch(() => {})
  timeouts.signal.addEventListener('abort', stop)
  if (timeouts.reason) stop()
  /** Read to its end, its connection serves the next attempt. */
  const readError = async <From>(
    read: (from: From, options: ReadEventStreamOptions) => Promise<StreamError>,
    from: From,
    held: unknown = from,
  ): Promise<StreamError> => {
    try {
      return await read(from, { signal: timeouts.signal, onChunk: () => timeouts.touch() })
    } catch (error) {
      return toStreamError(error)
    } finally {
      timeouts.signal.removeEventListener('abort', stop)
      if (typeof held === 'object' && held !== null) void coordinatedSocketCleanup(held, { lingerMs })
    }
  }
  let isOver = false
  try {
    const opening = Promise.resolve(open(attempt, controller.signal))
    // One that comes when nobody waits for it any more is let go at once.
    opening.then((late) => {
      if (isOver) void coordinatedSocketCleanup(late)
    }, ignore)
    const upstream = await timeouts.run(Promise.race([opening, expired]))
    const { status } = openSource(upstream)
    if (status === undefined || (status >= 200 && status <= 299)) return { upstream }
    return { failure: await readError(readUpstreamError, upstream), stale: false }
  } catch (error) {
    isOver = true
    const { response } = Object(error) as { response?: unknown }
    const failure = await readError(readFailure, error, response ?? error)
    return { failure, stale: isStaleConnection(error) }
  } finally {
    endAttempt()
  }
}

/** How long to wait before another attempt; `undefined` where another one might do harm. */
function delayBefore(attempt: number, failure: StreamError, retryUncertain: boolean): number | undefined {
  const backoffMs = Math.random() * Math.min(longestBackoffMs, firstBackoffMs * 2 ** attempt)
  if (failure.phase === 'connect') return backoffMs
  if (failure.outcome === 'upstream_connect') return failure.retryable === false ? undefined : backoffMs
  if (failure.outcome === 'upstream_hangup') return retryUncertain ? backoffMs : undefined
  if (!isUpstreamError(failure)) return undefined
  const { upstreamStatus = 0, retryAfter, retryAfterMs, retryable } = failure
  if (retryable === false) return undefined
  if ([429, 503, 529].includes(upstreamStatus)) {
    const waitMs = /^\d+$/.test(retryAfterMs ?? '') ? Number(retryAfterMs) : readRetryAfter(retryAfter)
    return waitMs ?? backoffMs
  }
  return retryUncertain && [500, 502, 504].includes(upstreamStatus) ? backoffMs : undefined
}

/** Whole seconds, or a date of HTTP; anything else says nothing. */
function readRetryAfter(value: string | undefined): number | undefined {
  if (value === undefined) return undefined
  if (/^\s*\d+\s*$/.test(value)) return Number(value) * 1_000
  if (!/^\s*[A-Z][a-z]+,? /.test(value)) return undefined
  const at = Date.parse(value)
  return Number.isNaN(at) ? undefined : Math.max(0, at - Date.now())
}

/**
 * Warns of an HTTP client whose own timer goes on running beside the stream's clock: the smaller one always wins,
 * and what it does looks like a hang-up.
 *
 * @param upstream what the client returned
 */
export function warnOfOwnTimer(upstream: unknown): void {
  const { config } = Object(upstream) as { config?: { timeout?: unknown } }
  const timeout = Number(config?.timeout)
  if (timeout > 0) {
    warnOnce(
      `axios was called with a timeout of ${timeout} ms, which goes on counting through the stream and cuts it; ` +
        'hand it timeout: 0 and the stream’s signal instead',
    )
  }
}

function ignore(): void {}
