import { checkNames, shown } from './bad-input.js'
import { isStreamError, StreamError } from './stream-error.js'

/**
 * The options of {@link UpstreamError}: the failed response, as far as it is known.
 *
 * @example
 * throw new UpstreamError({ status: 429, retryAfter: '7', detail: 'slow down' })
 */
export interface UpstreamErrorOptions {
  /**
   * The upstream's HTTP status. A 4xx or 5xx is passed on, any other becomes 502. Not set: the error came in a stream.
   */
  status?: number | undefined
  /** The upstream's `Retry-After`, passed on unchanged. Not set: none is sent. */
  retryAfter?: string | undefined
  /** The upstream's `retry-after-ms`, passed on unchanged. Not set: none is sent. */
  retryAfterMs?: string | undefined
  /** The upstream's `x-should-retry`, passed on unchanged. Not set: none is sent. */
  shouldRetry?: string | undefined
  /**
   * The upstream's own message, for logs. Only `exposeUpstreamErrors` shows it to the client. Not set: there is none.
   */
  detail?: string | undefined
  /** The original error of an HTTP client that throws for a status. Not set: there is none. */
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

/**
 * Reports that the upstream responded with an error.
 *
 * @example
 * if (isUpstreamError(error)) console.log(error.upstreamStatus, error.detail)
 */
export class UpstreamError extends StreamError {
  /** `UpstreamError`. */
  override readonly name = 'UpstreamError'
  /** `upstream_error`. */
  declare readonly outcome: 'upstream_error'
  /** The upstream's HTTP status; `undefined` for an error inside a stream. */
  readonly upstreamStatus: number | undefined
  /** The upstream's `Retry-After`, unchanged. */
  readonly retryAfter: string | undefined
  /** The upstream's `retry-after-ms`, unchanged. */
  readonly retryAfterMs: string | undefined
  /** The upstream's own message; not enumerable, so that no log holds it by accident. */
  declare readonly detail: string | undefined

  constructor(options: UpstreamErrorOptions = {}) {
    checkNames(options, { owner: 'options.', names: optionNames })
    const { status, retryAfter, retryAfterMs, shouldRetry, detail, cause } = options
    if (status !== undefined && typeof status !== 'number') {
      throw new TypeError(`status must be a number, got ${shown(status)}`)
    }
    const passedOn = status !== undefined && status >= 400 && status <= 599
    super('upstream_error', {
      ...(passedOn ? { status, message: `The upstream responded with status ${status}.` } : {}),
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

/**
 * Returns whether `error` is an {@link UpstreamError}, also one made by another copy of unhang.
 *
 * @example
 * if (isUpstreamError(error) && error.upstreamStatus === 429) console.log('retry after', error.retryAfter)
 */
export function isUpstreamError(error: unknown): error is UpstreamError {
  return isStreamError(error) && 'upstreamStatus' in error
}

/** The part of an error that a client may read. */
export function clientMessage(reason: StreamError, exposeUpstreamErrors = false): string {
  const detail = isUpstreamError(reason) ? reason.detail : undefined
  return exposeUpstreamErrors && detail ? `${reason.message} ${detail}` : reason.message
}
