export {
  detectStreamingRequest,
  type StreamingHints,
  type StreamingRequestLike,
} from './client/detect-streaming-request.js'
export {
  type ErrorResponseOptions,
  handleSocketHangUp,
  isSocketHangUp,
  respondWithError,
} from './client/error-response.js'
export type { StreamResponse } from './client/response.js'
export { createSSEWriter, type SSEWriter } from './client/sse-writer.js'
export type { SSEWriterObserver, SSEWriterOptions } from './client/sse-writer-options.js'
export { channels, type StreamEnd } from './diagnostics/channels.js'
export type {
  AnswerForm,
  CollectedAnswer,
  EventRole,
  FailingOptions,
  FollowedStream,
  StreamDialect,
} from './dialects/dialect.js'
export { type DialectName, dialects } from './dialects/index.js'
export {
  type FailedOutcome,
  isStreamError,
  StreamError,
  type StreamErrorOptions,
  type StreamOutcome,
  StreamTimeoutError,
  type TimeoutPhase,
} from './errors/stream-error.js'
export { UpstreamError, type UpstreamErrorOptions } from './errors/upstream-error.js'
export type { SSEEvent } from './framing/sse/encode.js'
export type { SkippedEvents } from './framing/sse/follow.js'
export type { EventSourceMessage } from './framing/sse/parse.js'
export { getStream } from './guard/guard-response.js'
export type { GuardedStream } from './guard/handle.js'
export type { GuardOptions } from './guard/request.js'
export { type AppListener, wrapApp } from './guard/wrap-app.js'
export { type AlignOptions, alignServerTimeouts, type TimeoutFinding } from './server/align-timeouts.js'
export {
  type DrainableServer,
  type DrainOptions,
  type DrainReport,
  drainStreams,
} from './server/drain-streams.js'
export { handleStream } from './stream/handle-stream.js'
export { type EventMap, type RelayOptions, type RelayResult, relayEventStream } from './stream/relay.js'
export type { StreamOptions } from './stream/settings.js'
export type { HandleStreamOptions, Stream, StreamHandler } from './stream/stream-context.js'
export type { Clock } from './timeouts/clock.js'
export type { ResolvedTimeouts, StreamTimeouts } from './timeouts/options.js'
export {
  advancedModels,
  selectTimeoutProfile,
  type TimeoutProfileName,
  type TimeoutProfileRequest,
  type TimeoutProfiles,
  timeoutProfiles,
} from './timeouts/profiles.js'
export type { AbortSignalLike } from './timeouts/stop-signal.js'
export { TimeoutCoordinator, type TimeoutCoordinatorOptions } from './timeouts/timeout-coordinator.js'
export { type ReadEventStreamOptions, readUpstreamError } from './upstream/answer.js'
export {
  coordinatedSocketCleanup,
  type SocketCleanupOptions,
  type SocketCleanupReport,
} from './upstream/cleanup.js'
export type { OpenAttempt, RetryOptions } from './upstream/open-upstream.js'
export { type ReadAnswerOptions, readAnswer } from './upstream/read-answer.js'
export { readEventStream } from './upstream/read-event-stream.js'
export type {
  AxiosLikeResponse,
  UndiciLikeResponse,
  UpstreamBody,
  UpstreamResponse,
  UpstreamSource,
} from './upstream/source.js'
export { watchConnect } from './upstream/watch-connect.js'
