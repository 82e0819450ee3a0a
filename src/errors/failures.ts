import { shown } from './bad-input.js'
import type { FailedOutcome, StreamErrorCode, TimeoutPhase } from './outcomes.js'

/** The report of a failed outcome to the client. */
export interface Failure {
  code: StreamErrorCode
  status: number
  message: string
  retryable?: boolean
  /** When a client may ask again; sent as `Retry-After`. */
  retryAfterSeconds?: number
}

/** The one table of causes: the report of each failed outcome to the client. */
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
    message: 'The upstream responded with an error.',
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
    message: 'The upstream sent a response that cannot be read.',
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
    message: 'The upstream did not begin to respond in time.',
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

/** @throws TypeError for an unknown outcome or phase */
export function failureOf(outcome: FailedOutcome, phase: TimeoutPhase = 'total'): Failure {
  const known = outcome === 'timeout' ? timeouts : failures
  const name = outcome === 'timeout' ? phase : outcome
  if (Object.hasOwn(known, name)) return (known as Record<string, Failure>)[name] as Failure
  const what = outcome === 'timeout' ? 'phase' : 'outcome'
  const names = outcome === 'timeout' ? Object.keys(timeouts) : [...Object.keys(failures), 'timeout']
  throw new TypeError(`${what} must be one of ${names.join(', ')}; got ${shown(name)}`)
}
