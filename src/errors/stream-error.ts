/** How a stream ended. */
export type StreamOutcome = 'completed' | FailedOutcome

/** How a stream ended that did not complete: whose fault it was, and what kind. */
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

/** Which deadline. */
export type TimeoutPhase = 'connect' | 'firstByte' | 'firstEvent' | 'inactivity' | 'stall' | 'drain' | 'total'

interface Failure {
  code: string
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
  stall: {
    code: 'upstream_stalled',
    status: 504,
    message: 'The upstream stayed connected but sent no more content.',
  },
  drain: { ...failures.client_stalled },
  total: {
    code: 'request_timeout_total',
    status: 504,
    message: 'The answer took longer than the total time allowed.',
  },
}

/** What an error says; what is left out comes from its outcome. */
export interface StreamErrorOptions {
  /** A name for programs, in the client's error. */
  code?: string
  /** The HTTP status a client gets while the head is unsent. */
  status?: number
  /** A plain sentence that a client may read. */
  message?: string
  /** The deadline that passed. */
  phase?: TimeoutPhase
  /** Whether sending the same request again is harmless; `undefined` where nobody can know. */
  retryable?: boolean
  /** When a client may ask again; sent as `Retry-After`. */
  retryAfterSeconds?: number
  /** What was thrown. */
  cause?: unknown
}

const brand = Symbol.for('unhang.StreamError')

/**
 * Why a stream did not complete. Its message is a plain sentence that is safe to show a client; what was
 * thrown is in `cause`.
 */
export class StreamError extends Error {
  /** The name of its class. */
  override readonly name: string = 'StreamError'
  /** How the stream ended. */
  readonly outcome: FailedOutcome
  /** A name for programs, in the client's error. */
  readonly code: string
  /** The HTTP status a client gets while the head is unsent. */
  readonly status: number
  /** The deadline that passed; `undefined` if it was none. */
  readonly phase: TimeoutPhase | undefined
  /** Whether sending the same request again is harmless; `undefined` where nobody can know. */
  readonly retryable: boolean | undefined
  /** When a client may ask again, in seconds; `undefined` if that is not known. */
  readonly retryAfterSeconds: number | undefined
  /** Whether the head had been sent when the stream ended. */
  committed = false

  constructor(outcome: FailedOutcome, options: StreamErrorOptions = {}) {
    const failure = outcome === 'timeout' ? timeouts[options.phase ?? 'total'] : failures[outcome]
    super(options.message ?? failure.message, 'cause' in options ? { cause: options.cause } : undefined)
    this.outcome = outcome
    const { status = 400 } = options
    if (!Number.isInteger(status) || status < 400 || status > 599) {
      throw new RangeError(`status must be from 400 to 599, got ${String(status)}`)
    }
    this.code = options.code ?? failure.code
    this.status = options.status ?? failure.status
    this.phase = options.phase
    this.retryable = 'retryable' in options ? options.retryable : failure.retryable
    this.retryAfterSeconds =
      'retryAfterSeconds' in options ? options.retryAfterSeconds : failure.retryAfterSeconds
    Object.defineProperty(this, brand, { value: true })
  }
}

/** A deadline passed. `timeoutMs` is the time that was allowed; `undefined` when somebody else's timer fired. */
export class StreamTimeoutError extends StreamError {
  /** The name of its class. */
  override readonly name = 'StreamTimeoutError'
  /** The time that was allowed, in milliseconds. */
  readonly timeoutMs: number | undefined

  constructor(phase: TimeoutPhase, timeoutMs?: number, cause?: unknown) {
    super(phase === 'drain' ? 'client_stalled' : 'timeout', { phase, ...(cause ? { cause } : {}) })
    this.timeoutMs = timeoutMs
  }
}

/** Whether `error` is a {@link StreamError}, also one made by another copy of unhang in this process. */
export function isStreamError(error: unknown): error is StreamError {
  return typeof error === 'object' && error !== null && brand in error
}
