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
