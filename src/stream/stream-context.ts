import type { SSEWriter } from '../client/sse-writer.js'
import type { EventSourceMessage } from '../framing/sse/parse.js'
import type { StreamDeadlines } from '../timeouts/stream-deadlines.js'
import type { OpenAttempt, RetryOptions } from '../upstream/open-upstream.js'
import type { UpstreamSource } from '../upstream/source.js'
import type { EventMap, RelayResult } from './relay.js'
import type { StreamOptions } from './settings.js'

/** What a handler fills. Its functions can be taken out of it: `({ relay, signal }) => …`. */
export interface StreamContext {
  /** Writes events of your own. */
  readonly writer: SSEWriter
  /** Hand it to every call of the upstream: it aborts when the client leaves or a deadline passes. */
  readonly signal: AbortSignal
  /** Which deadline the stream is waiting for, and for how long it has been running. */
  readonly deadlines: StreamDeadlines
  /** Stands in the record, the logs, and the `x-request-id` of the response. */
  readonly requestId: string
  /**
   * Calls an upstream, and calls it again where that does no harm. See `RetryOptions`. Each call gets a signal of
   * its own: one that takes too long to connect is given up alone.
   */
  openUpstream<T extends UpstreamSource>(open: OpenAttempt<T>, retry?: RetryOptions): Promise<T>
  /** The events of an upstream, or of the call that will return it, to loop over. */
  read(source: UpstreamSource | PromiseLike<UpstreamSource>): AsyncGenerator<EventSourceMessage, void>
  /**
   * Sends the events of an upstream, or of the call that will return it, on to the client: each as `map` makes
   * it, or, without one, byte for byte.
   */
  relay(source: UpstreamSource | PromiseLike<UpstreamSource>, map?: EventMap): Promise<RelayResult>
}

/** Fills one stream; the stream is complete when it returns, or at the terminal event. */
export type StreamHandler = (stream: StreamContext) => unknown

export interface HandleStreamOptions extends StreamOptions {
  /** A signal of the caller's; when it aborts, the client is told and the stream ends as `aborted`. */
  signal?: AbortSignal | undefined
  /** The model that was asked for: picks the timeouts, and goes into the record. */
  model?: string | undefined
  /** Default: the request's `x-request-id` if it is a plain one, else a new one. */
  requestId?: string | undefined
}
