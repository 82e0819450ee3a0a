import type { EventRole } from '../dialects/dialect.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import type { LastEvent } from '../framing/sse/followed-bytes.js'
import type { AbortSignalLike } from '../timeouts/abort-signal-like.js'
import type { UpstreamSource } from '../upstream/source.js'

/** Where relayed events go. */
export interface RelaySink extends LastEvent {
  /** The upstream, once it has answered: from then on it belongs to the stream. */
  open(source: UpstreamSource | PromiseLike<UpstreamSource>): UpstreamSource | PromiseLike<UpstreamSource>
  /** Something has come of the upstream. */
  touch(chunk: Uint8Array | string): void
  /** Looks at an event before it is passed on. */
  observe(event: SSEEvent): EventRole | undefined
  /** See `FollowedEvents.repeats`. */
  repeats(event: SSEEvent): boolean
  /** Pieces of the answer are about to be passed on that need no looking at. */
  repeated(): void
  /** Passes whole events on. @returns `undefined` for "the next ones at once", and when the terminal event has been sent */
  forward(events: Uint8Array | string, count: number): Promise<void> | undefined
  /** What the upstream said of its own failure has been passed on. */
  reportedToClient(): void
  /** A complete answer that came as JSON, as the events that say the same; `undefined` if nobody knows how. */
  toEvents(answer: object): readonly SSEEvent[] | undefined
  write(event: SSEEvent): Promise<void> | undefined
  /**
   * Nothing more will come of the upstream.
   *
   * @param received how many events came
   * @throws StreamError `upstream_truncated` when the client would miss the end
   */
  relayed(received: number): void
  /** Whether the client has had a byte: from then on an error has no status of its own. */
  readonly committed: boolean
  /** Nothing may follow: the terminal event has been written, by whomever. */
  readonly sawTerminal: boolean
  /** What the upstream said of its own failure. */
  readonly reported: Error | undefined
  /** Aborts when the stream must stop. */
  readonly stopSignal: AbortSignalLike
}
