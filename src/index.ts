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
export type { SSEWriterOptions } from './client/sse-writer-options.js'
export { channels, type StreamEnd, type StreamUsage } from './diagnostics/channels.js'
export {
  type ReleasedUpstream,
  type ReportedFailure,
  type StreamSubscribers,
  subscribeStreams,
} from './diagnostics/subscribe-streams.js'
export type {
  AnswerForm,
  CollectedAnswer,
  DialectRequest,
  DialectState,
  EventRole,
  FailingOptions,
  StreamDialect,
} from './dialects/dialect.js'
export { type DialectName, dialects } from './dialects/index.js'
export type { FailedOutcome, StreamErrorCode, StreamOutcome, TimeoutPhase } from './errors/outcomes.js'
export {
  isStreamError,
  StreamError,
  type StreamErrorOptions,
  type StreamFailure,
  StreamTimeoutError,
} from './errors/stream-error.js'
export { isUpstreamError, UpstreamError, type UpstreamErrorOptions } from './errors/upstream-error.js'
export type { SkippedEvents } from './framing/sse/blocks.js'
export { encodeEvent, type SSEEvent } from './framing/sse/encode.js'
export type { EventSourceMessage } from './framing/sse/parse.js'
export type { AdoptOptions } from './guard/adopt-options.js'
export type { GuardOptions } from './guard/request.js'
export { unadopted } from './guard/upstream-calls.js'
export { type AppListener, wrapApp } from './guard/wrap-app.js'
export { type AlignOptions, alignServerTimeouts, type TimeoutFinding } from './server/align-timeouts.js'
export { type DrainOnSignalsOptions, drainOnSignals } from './server/drain-on-signals.js'
export {
  type DrainableServer,
  type DrainOptions,
  type DrainReport,
  drainStreams,
} from './server/drain-streams.js'
export { type GuardedStream, getSignal, getStream } from './stream/guarded-stream.js'
export { handleStream } from './stream/handle-stream.js'
export { type EventMap, type RelayOptions, type RelayResult, relayEventStream } from './stream/relay.js'
export type { StreamOptions } from './stream/settings.js'
export type { HandleStreamOptions, StreamContext, StreamHandler } from './stream/stream-context.js'
export type { StreamTimeouts } from './timeouts/options.js'
export {
  advancedModels,
  selectTimeoutProfile,
  type TimeoutProfileName,
  type TimeoutProfiles,
  timeoutProfiles,
} from './timeouts/profiles.js'
export type { StreamDeadlines } from './timeouts/stream-deadlines.js'
export { TimeoutCoordinator, type TimeoutCoordinatorOptions } from './timeouts/timeout-coordinator.js'
export type { OpenAttempt, UpstreamCall } from './upstream/call-once.js'
export {
  coordinatedSocketCleanup,
  type SocketCleanupOptions,
  type SocketCleanupReport,
} from './upstream/cleanup.js'
export { type OpenUpstreamOptions, openUpstream } from './upstream/open-upstream.js'
export { type ReadAnswerOptions, readAnswer } from './upstream/read-answer.js'
export { readEventStream } from './upstream/read-event-stream.js'
export type { ReadEventStreamOptions } from './upstream/reading-options.js'
export type { RetryOptions, UpstreamRetry } from './upstream/retry-options.js'
export type { UpstreamBody, UpstreamResponse, UpstreamSource } from './upstream/source.js'
export { watchConnect } from './upstream/watch-connect.js'
