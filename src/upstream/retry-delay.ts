import type { StreamError } from '../errors/stream-error.js'
import { isUpstreamError } from '../errors/upstream-error.js'

const firstBackoffMs = 250
const maxBackoffMs = 4_000

/**
 * How long to wait before another call; `undefined` where another one might do harm.
 *
 * @param isWanted the caller has said so: then only an upstream's own word decides how long to wait
 */
export function delayBefore(
  retry: number,
  failure: StreamError,
  retryUncertain: boolean,
  isWanted: boolean,
): number | undefined {
  const backoffMs = Math.random() * Math.min(maxBackoffMs, firstBackoffMs * 2 ** retry)
  const otherwise = isWanted ? backoffMs : undefined
  if (failure.phase === 'connect') return backoffMs
  if (failure.outcome === 'upstream_connect') return failure.retryable === false ? otherwise : backoffMs
  if (failure.outcome === 'upstream_hangup') return retryUncertain ? backoffMs : undefined
  if (!isUpstreamError(failure)) return otherwise
  const { upstreamStatus = 0, retryAfter, retryAfterMs, retryable } = failure
  if (retryable === false) return otherwise
  if ([429, 503, 529].includes(upstreamStatus)) {
    const waitMs = /^\d+$/.test(retryAfterMs ?? '') ? Number(retryAfterMs) : readRetryAfter(retryAfter)
    return waitMs ?? backoffMs
  }
  return retryUncertain && [500, 502, 504].includes(upstreamStatus) ? backoffMs : otherwise
}

/** Whole seconds, or a date of HTTP; anything else says nothing. */
function readRetryAfter(value: string | undefined): number | undefined {
  if (value === undefined) return undefined
  if (/^\s*\d+\s*$/.test(value)) return Number(value) * 1_000
  if (!/^\s*[A-Z][a-z]+,? /.test(value)) return undefined
  const at = Date.parse(value)
  return Number.isNaN(at) ? undefined : Math.max(0, at - Date.now())
}
