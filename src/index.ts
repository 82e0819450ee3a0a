export type { AbortSignalLike } from './abort-signal-like.js'
export type { Clock } from './clock.js'
export { watchConnect } from './connect-phase.js'
export {
  detectStreamingRequest,
  type StreamingHints,
  type StreamingRequestLike,
} from './detect-streaming-request.js'
export { channels, type StreamEnd } from './diagnostics.js'
export { type DialectName, dialects } from './dialects.js'
export { type DrainableServer, type DrainOptions, type DrainReport, drainStreams } from './drain-streams.js'
export { type ErrorResponseOptions, respondWithError } from './error-response.js'
export {
  type FailedOutcome,
  isStreamError,
  StreamError,
  type StreamErrorOptions,
  type StreamOutcome,
  StreamTimeoutError,
  type TimeoutPhase,
  UpstreamError,
  type UpstreamErrorOptions,
} from './errors.js'
export { readEventStream } from './event-stream.js'
export type { EventSourceMessage } from './event-stream-parser.js'
export type { StreamResponse } from './exchange.js'
export { getStream } from './guard-response.js'
export type { GuardedStream } from './guarded-stream.js'
export { handleStream } from './handle-stream.js'
export { type ReadEventStreamOptions, readUpstreamError } from './open-event-stream.js'
export type { OpenAttempt, RetryOptions } from './open-upstream.js'
export { type ReadAnswerOptions, readAnswer } from './read-answer.js'
export { type EventMap, type RelayOptions, type RelayResult, relayEventStream } from './relay-event-stream.js'
export type { GuardOptions } from './requested-stream.js'
export { type AlignOptions, alignServerTimeouts, type TimeoutFinding } from './server-timeouts.js'
export {
  coordinatedSocketCleanup,
  type SocketCleanupOptions,
  type SocketCleanupReport,
} from './socket-cleanup.js'
export { handleSocketHangUp, isSocketHangUp } from './socket-hang-up.js'
export type { SSEEvent } from './sse-encode.js'
export { createSSEWriter, type SSEWriter } from './sse-writer.js'
export type { SSEWriterObserver, SSEWriterOptions } from './sse-writer-options.js'
export type { HandleStreamOptions, Stream, StreamHandler } from './stream.js'
export type {
  AnswerForm,
  CollectedAnswer,
  EventRole,
  FailingOptions,
  FollowedStream,
  StreamDialect,
} from './stream-dialect.js'
export type { StreamOptions } from './stream-options.js'
export { TimeoutCoordinator, type TimeoutCoordinatorOptions } from './timeout-coordinator.js'
export type { ResolvedTimeouts, StreamTimeouts } from './timeout-options.js'
export {
  advancedModels,
  selectTimeoutProfile,
  type TimeoutProfileName,
  type TimeoutProfileRequest,
  type TimeoutProfiles,
  timeoutProfiles,
} from './timeout-profiles.js'
export type {
  AxiosLikeResponse,
  UndiciLikeResponse,
  UpstreamBody,
  UpstreamResponse,
  UpstreamSource,
} from './upstream-source.js'
export { type AppListener, wrapApp } from './wrap-app.js'
