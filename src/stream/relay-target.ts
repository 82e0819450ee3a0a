import type { EventRole } from '../dialects/dialect.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import type { LastEvent } from '../framing/sse/follow.js'
import type { AbortSignalLike } from '../timeouts/stop-signal.js'
import { AnswerReader } from '../upstream/answer.js'
import type { Backpressure } from '../upstream/node-chunks.js'
import type { UpstreamSource } from '../upstream/source.js'

/** Takes the chunks of an upstream's event stream on their way to a client. */
export abstract class RelayTaker extends AnswerReader {
  /** Events that came. */
  received = 0
  protected readonly sink: RelaySink

  constructor(sink: RelaySink, maxEventBytes: number | undefined) {
    super(maxEventBytes)
    this.sink = sink
  }

  touch(chunk: Uint8Array | string): void {
    this.sink.touch(chunk)
  }

  /** After the last event there is nothing to wait for, unless it was refused. */
  protected last(written: Promise<void> | undefined): Backpressure {
    return written ? written.then(() => false) : false
  }

  /**
   * Call when all has come.
   *
   * @returns what to wait for
   * @throws what is wrong with the end
   */
  abstract finish(): Promise<void> | undefined
}

/** Where relayed events go. */
export interface RelaySink extends LastEvent {
  /** The upstream, once it has answered: from then on it belongs to the stream. */
  open(source: UpstreamSource | PromiseLike<UpstreamSource>): UpstreamSource | PromiseLike<UpstreamSource>
  /** Something has come of the upstream. */
  touch(chunk: Uint8Array | string): void
  /** Looks at an event before it is passed on. */
  observe(event: SSEEvent): EventRole | undefined
  /** See `Transcript.repeats`. */
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
