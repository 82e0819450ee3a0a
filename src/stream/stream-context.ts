import type { SSEWriter } from '../client/sse-writer.js'
import type { EventSourceMessage } from '../framing/sse/parse.js'
import type { StreamDeadlines } from '../timeouts/stream-deadlines.js'
import type { OpenAttempt } from '../upstream/call-once.js'
import type { RetryOptions } from '../upstream/retry-options.js'
import type { UpstreamSource } from '../upstream/source.js'
import type { EventMap, RelayResult } from './relay.js'
import type { StreamOptions } from './settings.js'

/**
 * The stream that a handler fills. Its functions can be destructured: `({ relay, signal }) => …`.
 *
 * @example
 * const translate = async ({ read, writer, openUpstream }: StreamContext) => {
 *   for await (const { data } of read(openUpstream(({ signal }) => fetch(url, { signal })))) {
 *     await writer.write(data.toUpperCase())
 *   }
 * }
 */
export interface StreamContext {
  /** Writes events of your own. */
  readonly writer: SSEWriter
  /** Aborts when the client leaves or a deadline passes; pass it to every upstream call. */
  readonly signal: AbortSignal
  /** The deadline that the stream is waiting for, and how long it has been running. */
  readonly deadlines: StreamDeadlines
  /** The id of the stream in logs, records and `x-request-id`. */
  readonly requestId: string
  /**
   * Calls an upstream, and retries only when that is safe; see {@link RetryOptions}.
   *
   * Each call gets a signal of its own, so that a call that takes too long to connect can be retried.
   */
  openUpstream<T extends UpstreamSource>(open: OpenAttempt<T>, retry?: RetryOptions): Promise<T>
  /** Returns the events of an upstream, or of the call that will return it, to loop over. */
  read(source: UpstreamSource | PromiseLike<UpstreamSource>): AsyncGenerator<EventSourceMessage, void>
  /**
   * Forwards the events of an upstream, or of the call that will return it, to the client.
   *
   * Without a `map` the bytes stay unchanged, one complete event at a time.
   */
  relay(source: UpstreamSource | PromiseLike<UpstreamSource>, map?: EventMap): Promise<RelayResult>
}

/** Fills one stream; the stream is complete when the handler returns, or at the terminal event. */
export type StreamHandler = (stream: StreamContext) => unknown

/**
 * The options of {@link handleStream}.
 *
 * @example
 * await handleStream(response, ({ relay }) => relay(upstream), { model: 'gpt-5', requestId: 'chat-1' })
 */
export interface HandleStreamOptions extends StreamOptions {
  /**
   * Ends the stream as `aborted`, which is reported to the client. Not set: only unhang ends the stream early.
   */
  signal?: AbortSignal | undefined
  /** The requested model: it picks the timeouts, and goes into the record. Not set: it is unknown. */
  model?: string | undefined
  /**
   * The id of the stream: letters, digits, dots and dashes.
   *
   * @defaultValue the request's `x-request-id` if it is a plain one, else a new id
   */
  requestId?: string | undefined
}
