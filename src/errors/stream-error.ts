import { checkNames, shown } from './bad-input.js'
import { causeChain, propertyOf } from './cause-chain.js'
import type { UpstreamError } from './upstream-error.js'

/** How a stream ended: `completed`, or how it failed. */
export type StreamOutcome = 'completed' | FailedOutcome

/**
 * How a stream failed. `upstream_…`: the upstream failed. `client_…`: the client left, or stopped reading.
 * `shutdown` and `aborted`: your app stopped the stream. `internal`: your handler threw.
 */
export type FailedOutcome =
  | 'timeout'
  | 'upstream_connect'
  | 'upstream_error'
  | 'upstream_hangup'
  | 'upstream_protocol'
  | 'upstream_truncated'
  | 'client_gone'
  | 'client_stalled'
  | 'shutdown'
  | 'aborted'
  | 'internal'

/** A deadline, named as its timeout without `Ms`. */
export type TimeoutPhase =
  | 'connect'
  | 'firstByte'
  | 'firstEvent'
  | 'inactivity'
  | 'upstreamStall'
  | 'clientStall'
  | 'total'

/** The codes of unhang's failures, as a client reads them in `error.code`. */
export type StreamErrorCode =
  | 'upstream_unreachable'
  | 'upstream_error'
  | 'rate_limit_exceeded'
  | 'connection_reset'
  | 'upstream_protocol_error'
  | 'upstream_event_too_large'
  | 'upstream_answer_too_large'
  | 'upstream_truncated'
  | 'client_disconnected'
  | 'client_stalled'
  | 'server_shutting_down'
  | 'request_aborted'
  | 'internal_error'
  | 'no_answer'
  | 'invalid_request'
  | 'upstream_connect_timeout'
  | 'upstream_first_byte_timeout'
  | 'upstream_first_event_timeout'
  | 'upstream_inactivity_timeout'
  | 'upstream_stalled'
  | 'request_timeout_total'

/** A code of unhang's, or one that the app gave its own error. */
type AnyCode = StreamErrorCode | (string & {})

interface Failure {
  code: StreamErrorCode
  status: number
  message: string
  retryable?: boolean
  /** When a client may ask again; sent as `Retry-After`. */
  retryAfterSeconds?: number
}

/** The one table of causes: what each failed outcome tells the client. */
const failures: Record<Exclude<FailedOutcome, 'timeout'>, Failure> = {
  upstream_connect: {
    code: 'upstream_unreachable',
    status: 503,
    message: 'The upstream could not be reached.',
    retryable: true,
    retryAfterSeconds: 1,
  },
  upstream_error: {
    code: 'upstream_error',
    status: 502,
    message: 'The upstream answered with an error.',
  },
  upstream_hangup: {
    code: 'connection_reset',
    status: 503,
    message: 'The upstream closed the connection before the answer was complete.',
    retryAfterSeconds: 1,
  },
  upstream_protocol: {
    code: 'upstream_protocol_error',
    status: 502,
    message: 'The upstream sent an answer that cannot be read.',
  },
  upstream_truncated: {
    code: 'upstream_truncated',
    status: 502,
    message: 'The upstream ended the answer before it was complete.',
  },
  client_gone: { code: 'client_disconnected', status: 499, message: 'The client disconnected.' },
  client_stalled: { code: 'client_stalled', status: 499, message: 'The client stopped reading.' },
  shutdown: {
    code: 'server_shutting_down',
    status: 503,
    message: 'The server is shutting down; please try again.',
    retryable: true,
    retryAfterSeconds: 5,
  },
  aborted: { code: 'request_aborted', status: 499, message: 'The request was aborted.' },
  internal: { code: 'internal_error', status: 500, message: 'The server met an internal error.' },
}

const timeouts: Record<TimeoutPhase, Failure> = {
  connect: {
    code: 'upstream_connect_timeout',
    status: 504,
    message: 'The upstream could not be reached in time.',
    retryable: true,
  },
  firstByte: {
    code: 'upstream_first_byte_timeout',
    status: 504,
    message: 'The upstream did not begin to answer in time.',
    // The upstream has accepted the request: it may well have been billed.
    retryable: false,
  },
  firstEvent: {
    code: 'upstream_first_event_timeout',
    status: 504,
    message: 'The upstream sent no content in time.',
    retryable: false,
  },
  inactivity: {
    code: 'upstream_inactivity_timeout',
    status: 504,
    message: 'The upstream fell silent in the middle of the answer.',
  },
  upstreamStall: {
    code: 'upstream_stalled',
    status: 504,
    message: 'The upstream stayed connected but sent no more content.',
  },
  clientStall: { ...failures.client_stalled },
  total: {
    code: 'request_timeout_total',
    status: 504,
    message: 'The answer took longer than the total time allowed.',
  },
}

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

/** @throws TypeError for an unknown outcome or phase */
function failureOf(outcome: FailedOutcome, phase: TimeoutPhase = 'total'): Failure {
  const known = outcome === 'timeout' ? timeouts : failures
  const name = outcome === 'timeout' ? phase : outcome
  if (Object.hasOwn(known, name)) return (known as Record<string, Failure>)[name] as Failure
  const what = outcome === 'timeout' ? 'phase' : 'outcome'
  const names = outcome === 'timeout' ? Object.keys(timeouts) : [...Object.keys(failures), 'timeout']
  throw new TypeError(`${what} must be one of ${names.join(', ')}; got ${shown(name)}`)
}

const brand = Symbol.for('unhang.StreamError')

/** What stops a stream from outside: its signal aborts with these as any signal would. */
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

  /** What a log may hold of it: of the cause no more than its name, its code and its message. */
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
