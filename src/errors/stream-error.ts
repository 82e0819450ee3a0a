import { checkNames, shown } from './bad-input.js'
import { causeChain, propertyOf } from './cause-chain.js'
import { failureOf } from './failures.js'
import type { FailedOutcome, StreamErrorCode, TimeoutPhase } from './outcomes.js'
import type { UpstreamError } from './upstream-error.js'

/** A code of unhang's, or one that the app gave its own error. */
type AnyCode = StreamErrorCode | (string & {})

/**
 * The options of {@link StreamError}.
 *
 * @example
 * throw new StreamError('internal', { status: 422, code: 'invalid_request', message: 'There are no messages.' })
 */
export interface StreamErrorOptions {
  /** A name for programs, in the client's error. @defaultValue by the outcome */
  code?: AnyCode | undefined
  /** The HTTP status that a client gets before the headers are sent, from 400 to 599. @defaultValue by the outcome */
  status?: number | undefined
  /** A plain sentence that a client may read. @defaultValue by the outcome */
  message?: string | undefined
  /** The deadline that passed. Not set: no deadline passed. */
  phase?: TimeoutPhase | undefined
  /** Whether a retry of the same request is harmless; `undefined` if that is not known. @defaultValue by the outcome */
  retryable?: boolean | undefined
  /** When a client may retry, in seconds; sent as `Retry-After`. @defaultValue by the outcome */
  retryAfterSeconds?: number | undefined
  /** The original error. Not set: there is none. */
  cause?: unknown
}

const optionNames: readonly (keyof StreamErrorOptions)[] = [
  'code',
  'status',
  'message',
  'phase',
  'retryable',
  'retryAfterSeconds',
  'cause',
]

const brand = Symbol.for('unhang.StreamError')

/** Reasons that stop a stream from outside: its signal aborts with these as any signal would. */
const abortOutcomes: readonly FailedOutcome[] = ['client_gone', 'client_stalled', 'shutdown', 'aborted']

function nameOf(outcome: FailedOutcome): string {
  if (outcome === 'timeout') return 'TimeoutError'
  return abortOutcomes.includes(outcome) ? 'AbortError' : 'StreamError'
}

/**
 * Explains why a stream did not complete. Its message is safe to show to a client; `cause` is the original error.
 *
 * @throws RangeError for a status that is not from 400 to 599
 * @example
 * throw new StreamError('upstream_protocol', { message: 'The upstream sent no tokens.' })
 */
export class StreamError extends Error {
  /**
   * `AbortError` if the stream was stopped from outside, `TimeoutError` for a deadline, else the name of the class.
   *
   * @see https://dom.spec.whatwg.org/#abortcontroller-api-integration
   */
  override readonly name: string
  /** How the stream ended. */
  readonly outcome: FailedOutcome
  /** A name for programs, in the client's error. */
  readonly code: AnyCode
  /** The HTTP status that a client gets before the headers are sent. */
  readonly status: number
  /** The deadline that passed; `undefined` if none did. */
  readonly phase: TimeoutPhase | undefined
  /** Whether a retry of the same request is harmless; `undefined` if that is not known. */
  readonly retryable: boolean | undefined
  /** When a client may retry, in seconds; `undefined` if that is not known. */
  readonly retryAfterSeconds: number | undefined
  /** Whether the headers had been sent when the stream ended. */
  headersSent = false

  constructor(outcome: FailedOutcome, options: StreamErrorOptions = {}) {
    checkNames(options, { owner: 'options.', names: optionNames })
    const failure = failureOf(outcome, options.phase)
    super(options.message ?? failure.message, 'cause' in options ? { cause: options.cause } : undefined)
    this.name = nameOf(outcome)
    this.outcome = outcome
    const { status = 400 } = options
    if (!Number.isInteger(status) || status < 400 || status > 599) {
      throw new RangeError(`status must be from 400 to 599, got ${shown(options.status)}`)
    }
    this.code = options.code ?? failure.code
    this.status = options.status ?? failure.status
    this.phase = options.phase
    this.retryable = options.retryable ?? failure.retryable
    this.retryAfterSeconds = options.retryAfterSeconds ?? failure.retryAfterSeconds
    Object.defineProperty(this, brand, { value: true })
  }

  /** The form that a log may contain: of the cause only its name, its code and its message. */
  toJSON(): object {
    const [cause] = causeChain(this.cause)
    return {
      ...this,
      message: this.message,
      ...(cause && { cause: { name: cause.name, code: cause.code, message: cause.message } }),
    }
  }
}

/**
 * Reports that a deadline passed.
 *
 * @example
 * if (isStreamError(error) && error.outcome === 'timeout') console.log(error.phase, error.timeoutMs)
 */
export class StreamTimeoutError extends StreamError {
  /** `client_stalled` if the client was too slow, else `timeout`. */
  declare readonly outcome: 'timeout' | 'client_stalled'
  /** The deadline that passed. */
  declare readonly phase: TimeoutPhase
  /** The time that was allowed, in milliseconds; `undefined` if the timer was not one of unhang. */
  readonly timeoutMs: number | undefined

  constructor(phase: TimeoutPhase, timeoutMs?: number, cause?: unknown) {
    super(phase === 'clientStall' ? 'client_stalled' : 'timeout', { phase, ...(cause ? { cause } : {}) })
    this.timeoutMs = timeoutMs
  }
}

/** Every error of unhang: check `outcome` to narrow it. */
export type StreamFailure =
  | UpstreamError
  | StreamTimeoutError
  | (StreamError & {
      /** How the stream ended. */
      readonly outcome: Exclude<FailedOutcome, 'upstream_error' | 'timeout'>
    })

/**
 * Returns whether `error` is an error of unhang, also of another copy of unhang in this process.
 *
 * @example
 * if (isStreamError(error)) console.log(error.outcome, error.code)
 */
export function isStreamError(error: unknown): error is StreamFailure {
  return typeof error === 'object' && error !== null && propertyOf(error, brand) === true
}
