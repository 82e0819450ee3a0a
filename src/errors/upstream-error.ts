import { checkNames, shown } from './bad-input.js'
import { isStreamError, StreamError } from './stream-error.js'

/** What is known of the answer of an upstream that failed. */
export interface UpstreamErrorOptions {
  /** The upstream's HTTP status. A 4xx or 5xx is passed on, anything else becomes 502. */
  status?: number | undefined
  /** The upstream's `Retry-After`, passed on as it is. */
  retryAfter?: string | undefined
  /** The upstream's `retry-after-ms`, passed on as it is. */
  retryAfterMs?: string | undefined
  /** The upstream's `x-should-retry`, passed on as it is. */
  shouldRetry?: string | undefined
  /** What the upstream said. For logs only: it is shown to the client by `exposeUpstreamErrors` alone. */
  detail?: string | undefined
  /** What was thrown, by an HTTP client that throws for a status. */
  cause?: unknown
}

const optionNames: readonly (keyof UpstreamErrorOptions)[] = [
  'status',
  'retryAfter',
  'retryAfterMs',
  'shouldRetry',
  'detail',
  'cause',
]

/** The upstream answered, with an error. */
export class UpstreamError extends StreamError {
  override readonly name = 'UpstreamError'
  declare readonly outcome: 'upstream_error'
  /** The upstream's HTTP status; `undefined` for an error inside a stream. */
  readonly upstreamStatus: number | undefined
  /** The upstream's `Retry-After`, as it was. */
  readonly retryAfter: string | undefined
  /** The upstream's `retry-after-ms`, as it was. */
  readonly retryAfterMs: string | undefined
  /** What the upstream said; not enumerable, so that it is in no log by accident. */
  declare readonly detail: string | undefined

  constructor(options: UpstreamErrorOptions = {}) {
    checkNames(options, { owner: 'options.', names: optionNames })
    const { status, retryAfter, retryAfterMs, shouldRetry, detail, cause } = options
    if (status !== undefined && typeof status !== 'number') {
      throw new TypeError(`status must be a number, got ${shown(status)}`)
    }
    const passedOn = status !== undefined && status >= 400 && status <= 599
    super('upstream_error', {
      ...(passedOn ? { status, message: `The upstream answered with status ${status}.` } : {}),
      ...(status === 429 ? { code: 'rate_limit_exceeded' } : {}),
      ...(shouldRetry === 'true' || shouldRetry === 'false' ? { retryable: shouldRetry === 'true' } : {}),
      ...(cause ? { cause } : {}),
    })
    this.upstreamStatus = status
    this.retryAfter = retryAfter
    this.retryAfterMs = retryAfterMs
    Object.defineProperty(this, 'detail', { value: detail })
  }
}

/** Whether `error` is an {@link UpstreamError}, also one made by another copy of unhang. */
export function isUpstreamError(error: unknown): error is UpstreamError {
  return isStreamError(error) && 'upstreamStatus' in error
}

/** What a client may read of an error. */
export function clientMessage(reason: StreamError, exposeUpstreamErrors = false): string {
  const detail = isUpstreamError(reason) ? reason.detail : undefined
  return exposeUpstreamErrors && detail ? `${reason.message} ${detail}` : reason.message
}
