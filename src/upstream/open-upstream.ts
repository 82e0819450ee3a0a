import { setTimeout as wait } from 'node:timers/promises'
import { log } from '../diagnostics/channels.js'
import { describeError } from '../diagnostics/describe-error.js'
import { shown } from '../errors/bad-input.js'
import { toStreamError } from '../errors/classify.js'
import type { StreamFailure } from '../errors/stream-error.js'
import { maxDelayMs } from '../timeouts/clock.js'
import type { StreamTimeouts } from '../timeouts/options.js'
import type { TimeoutProfileName } from '../timeouts/profiles.js'
import { TimeoutCoordinator } from '../timeouts/timeout-coordinator.js'
import { callOnce, type OpenAttempt } from './call-once.js'
import { delayBefore } from './retry-delay.js'
import { checkRetries, type RetryOptions, type UpstreamRetry } from './retry-options.js'
import type { UpstreamSource } from './source.js'

/**
 * The options of {@link openUpstream}.
 *
 * @example
 * await openUpstream(({ signal }) => fetch(url, { signal }), { signal: getSignal(request), timeouts: 'advanced' })
 */
export interface OpenUpstreamOptions extends RetryOptions {
  /** Ends the call under way, and the response. Not set: only deadlines end it. */
  signal?: AbortSignal | undefined
  /** How long the upstream may take to respond. @defaultValue the `streaming` profile */
  timeouts?: StreamTimeouts | TimeoutProfileName | false | undefined
}

/** The facts of a stream that decide about retries. */
export interface OpenUpstreamContext {
  timeouts: TimeoutCoordinator
  /** A signal that ends the call where there is no stream that does. */
  caller?: AbortSignal | undefined
  /** Whether the client is retrying after a failure. */
  isClientRetry: boolean
  /** Whether the client has had a byte: then nothing may be begun again. */
  committed(): boolean
  /** When the head is sent whatever happens, in milliseconds from the start: from then on there is no status. */
  headersAfterMs: number
  /** When the client stops waiting for the head, likewise. */
  clientWaitsMs: number
  /** A call is about to be retried. */
  retrying(retry: UpstreamRetry): void
}

const never = Number.POSITIVE_INFINITY

/**
 * Calls an upstream outside of a stream, and retries only when that is safe.
 *
 * That is: the upstream could not be reached; it responded with 429, 503 or 529; or a keep-alive connection had
 * already been closed. `Retry-After` decides how long to wait. In a streaming route use the `openUpstream` of its
 * {@link StreamContext}, which knows the client and its deadlines.
 *
 * @throws StreamError the last failure
 * @throws TypeError that names the option and the value
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
 * @example
 * const response = await openUpstream(({ signal }) => fetch(url, { signal }), { retries: 2, signal: getSignal(request) })
 */
export async function openUpstream<T extends UpstreamSource>(
  open: OpenAttempt<T>,
  options: OpenUpstreamOptions = {},
): Promise<T> {
  checkRetries(options, ['signal', 'timeouts'])
  const { signal, timeouts: allowed, ...retry } = options
  const timeouts = new TimeoutCoordinator(allowed, { signal })
  const upstream = await callUpstream(
    open,
    {
      timeouts,
      caller: signal,
      isClientRetry: false,
      committed: () => false,
      headersAfterMs: never,
      clientWaitsMs: never,
      retrying: ({ attempt, error, delayMs }) => {
        log.stream('retry %d in %d ms, after %s', attempt, Math.round(delayMs), () => describeError(error))
      },
    },
    retry,
  ).catch((error: unknown) => {
    timeouts.settle(toStreamError(error))
    throw error
  })
  // From here on only the caller's signal ends it.
  timeouts.settle()
  return upstream
}

/** As `openUpstream`, for a stream: never once its client has had a byte. */
export async function callUpstream<T extends UpstreamSource>(
  open: OpenAttempt<T>,
  context: OpenUpstreamContext,
  options: RetryOptions = {},
): Promise<T> {
  checkAttempt(open)
  checkRetries(options)
  const { timeouts, isClientRetry } = context
  const { connectMs } = timeouts.timeouts
  const { retries = isClientRetry ? 0 : 1, retryUncertain = false, shouldRetry, onRetry } = options
  const minAttemptMs = options.minAttemptMs ?? (Number.isFinite(connectMs) ? connectMs + 1_000 : 1_000)
  let spareForStale = 1
  for (let attempt = 1, retried = 0; ; attempt++) {
    const outcome = await callOnce(open, attempt, timeouts, context.caller)
    if ('upstream' in outcome) return outcome.upstream
    const { failure, stale } = outcome
    if (timeouts.settled || context.committed()) throw failure
    let delayMs: number | undefined
    if (stale && spareForStale > 0) {
      spareForStale--
      delayMs = 0
    } else if (retried < retries) {
      retried++
      const wanted = shouldRetry?.(failure as StreamFailure, attempt)
      if (wanted !== false) delayMs = delayBefore(retried, failure, wanted ?? retryUncertain, wanted === true)
    }
    if (delayMs === undefined || !fits(delayMs, minAttemptMs, context)) throw failure
    const retry = { attempt, error: failure as StreamFailure, delayMs }
    context.retrying(retry)
    onRetry?.(retry)
    if (delayMs > 0) await wait(delayMs, undefined, { signal: timeouts.signal }).catch(() => {})
    if (timeouts.reason) throw timeouts.reason
    if (context.committed()) throw failure
  }
}

/** Meanwhile the head must not be sent: the failure would lose its status. Nor may the first deadline pass. */
function fits(
  delayMs: number,
  minAttemptMs: number,
  { timeouts, clientWaitsMs, headersAfterMs }: OpenUpstreamContext,
): boolean {
  const { firstByteMs, totalMs } = timeouts.timeouts
  const beginsMs = timeouts.elapsedMs + delayMs
  const leftMs = Math.min(totalMs, clientWaitsMs) - beginsMs
  return leftMs >= minAttemptMs && beginsMs < headersAfterMs && delayMs < Math.min(firstByteMs, maxDelayMs)
}

/** The forms that people write first would get an object where they expect a signal. */
function checkAttempt(open: unknown): void {
  if (typeof open !== 'function') throw new TypeError(`openUpstream takes a function, got ${shown(open)}`)
  if (open.length < 2 && !/^(async\s+)?(function\s*\w*\s*)?\(?\s*(signal|attempt)\b/.test(String(open)))
    return
  throw new TypeError(
    'openUpstream hands its function one object: write openUpstream(({ signal, attempt }) => …)',
  )
}
