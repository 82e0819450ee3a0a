import { checkFlag, checkFunction, checkNames, shown } from '../errors/bad-input.js'
import type { StreamFailure } from '../errors/stream-error.js'

/** A call that failed, and the one that follows. */
export interface UpstreamRetry {
  /** Which call failed, from 1. */
  readonly attempt: number
  /** Why it failed. */
  readonly error: StreamFailure
  /** How long unhang waits before the next call, in milliseconds. */
  readonly delayMs: number
}

/**
 * When to retry an upstream; times are in milliseconds.
 *
 * @example
 * await openUpstream(({ signal }) => fetch(url, { signal }), {
 *   retries: 3,
 *   onRetry: ({ attempt, error, delayMs }) => console.log(attempt, error.code, delayMs),
 * })
 */
export interface RetryOptions {
  /** The maximum number of retries. @defaultValue `1`, or `0` if the client is retrying itself */
  retries?: number | undefined
  /** Whether to retry a request that may have been billed: after a hang-up, a 500, 502 or 504. @defaultValue `false` */
  retryUncertain?: boolean | undefined
  /**
   * The minimum time that must be left of `totalMs` to start another call, in milliseconds.
   *
   * @defaultValue `connectMs + 1_000`
   */
  minAttemptMs?: number | undefined
  /**
   * Decides about a failure: `true` to retry, `false` not to; `undefined` leaves it to unhang. Not set: unhang decides.
   */
  shouldRetry?: ((error: StreamFailure, attempt: number) => boolean | undefined) | undefined
  /** Called before each retry. Not set: nothing is called. */
  onRetry?: ((retry: UpstreamRetry) => void) | undefined
}

const retryNames = ['retries', 'retryUncertain', 'minAttemptMs', 'shouldRetry', 'onRetry'] as const
/** Names that are often tried first. */
const otherRetryNames = {
  attempts: 'retries, which counts one less',
  maxAttempts: 'retries, which counts one less',
  maxRetries: 'retries',
  retry: 'retries',
}

/** @param more names that the caller reads itself */
export function checkRetries(options: RetryOptions, more: readonly string[] = []): void {
  checkNames(options, { owner: 'retry.', names: [...retryNames, ...more], instead: otherRetryNames })
  const { retries = 0, minAttemptMs = 0, retryUncertain, shouldRetry, onRetry } = options
  if (!Number.isSafeInteger(retries) || retries < 0) {
    throw new TypeError(`retry.retries must be a whole number from 0, got ${shown(retries)}`)
  }
  if (typeof minAttemptMs !== 'number' || !(minAttemptMs >= 0)) {
    throw new TypeError(`retry.minAttemptMs must be a number from 0, got ${shown(minAttemptMs)}`)
  }
  checkFlag('retry.retryUncertain', retryUncertain)
  checkFunction('retry.shouldRetry', shouldRetry)
  checkFunction('retry.onRetry', onRetry)
}
