import type { EventRole, SkippedEvents } from '../dialects/dialect.js'
import type { UpstreamError } from '../errors/stream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import type { AbortSignalLike } from '../timeouts/stop-signal.js'
import { AnswerReader } from '../upstream/answer.js'
import type { Backpressure } from '../upstream/node-chunks.js'
import type { UpstreamSource } from '../upstream/source.js'

/** Takes the chunks of one upstream's event stream on their way to a client. */
export abstract class Relay extends AnswerReader {
  /** Events that came. */
  received = 0
  /** What this upstream said of its own failure. Another one may yet answer. */
  protected reported: UpstreamError | undefined
  protected readonly target: RelayTarget

  constructor(target: RelayTarget, maxEventBytes: number | undefined) {
    super(maxEventBytes)
    this.target = target
  }

  touch(chunk: Uint8Array | string): void {
    this.target.touch(chunk)
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
export interface RelayTarget {
  /** The upstream, once it has answered: from then on it belongs to the stream. */
  open(source: UpstreamSource | PromiseLike<UpstreamSource>): UpstreamSource | PromiseLike<UpstreamSource>
  /** Something has come of the upstream. */
  touch(chunk: Uint8Array | string): void
  /** Looks at an event before it is passed on. */
  observe(event: SSEEvent): EventRole | undefined
  /** Which events need not be observed now; see `FollowedStream.skips`. */
  readonly skips: () => SkippedEvents | undefined
  /** Pieces of the answer are about to be passed on that are not observed. */
  skipped(): void
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
  /** Aborts when the stream must stop. */
  readonly stopSignal: AbortSignalLike
}
