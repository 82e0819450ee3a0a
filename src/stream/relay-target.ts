import { type EventRole, type StreamDialect, sizeOf } from '../dialects/dialect.js'
import { dialectOfAnswer } from '../dialects/index.js'
import type { Transcript } from '../dialects/transcript.js'
import type { UpstreamError } from '../errors/upstream-error.js'
import type { Framing } from '../framing/framing.js'
import { framings } from '../framing/framings.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import { defaultMaxEventBytes } from '../framing/sse/follow.js'
import type { AbortSignalLike } from '../timeouts/stop-signal.js'
import { AnswerReader, type ChunkObserver } from '../upstream/answer-reader.js'
import type { Backpressure } from '../upstream/node-chunks.js'
import { answerTooLarge } from '../upstream/protocol-errors.js'
import type { UpstreamSource } from '../upstream/source.js'

/** Takes the chunks of one upstream's event stream on their way to a client. */
export abstract class Relay extends AnswerReader {
  /** Events that came. */
  received = 0
  /** The failure that this upstream reported. Another upstream may yet respond. */
  protected reported: UpstreamError | undefined
  protected readonly target: RelayTarget
  protected readonly sink: EventSink
  protected readonly transcript: Transcript | undefined

  readonly #maxBytes: number

  constructor(target: RelayTarget, framing: Framing, maxEventBytes: number | undefined) {
    super(maxEventBytes, target.clock)
    this.#maxBytes = maxEventBytes ?? defaultMaxEventBytes
    if (framing.name === 'ndjson') this.expectLines()
    this.target = target
    this.sink = target.sink
    this.transcript = target.transcript
  }

  /**
   * Writes a whole answer as the events that say the same, one after the other as the client takes them.
   *
   * @returns whether it was one
   * @throws StreamError for one of which far more would be made than has come, say by a long text in each event
   */
  protected async writeAnswer(answer: object): Promise<boolean> {
    const dialect = this.target.dialect && dialectOfAnswer(answer, this.target.dialect)
    if (!dialect) return false
    const events = () => dialect.answers?.toEvents(answer) ?? []
    let left = 2 * this.#maxBytes
    // Beforehand, while there is a status for it.
    for (const { data } of events()) {
      left -= sizeOf(data)
      if (left < 0) throw answerTooLarge(this.#maxBytes)
    }
    this.target.follow({ status: undefined, framing: framings[dialect.framing ?? 'sse'] })
    for (const event of events()) {
      await this.target.write(event)
      this.received++
    }
    return true
  }

  /** After the last event there is nothing to wait for, unless it was refused. */
  protected last(written: Promise<void> | undefined): Backpressure {
    return written ? written.then(() => false) : false
  }

  /**
   * Call when all has come.
   *
   * @returns what to wait for
   * @throws the failure that the end means
   */
  abstract finish(): Promise<void> | undefined
}

/** Where the events of a client's stream go. */
export interface EventSink {
  /** Whether the client has had a byte: from then on an error has no status of its own. */
  readonly committed: boolean
  /** Looks at an event before it is passed on. */
  observe(event: SSEEvent): EventRole | undefined
  /**
   * Passes whole events on that have been looked at.
   *
   * @returns what to wait for before the next ones; nothing when the terminal event has been sent
   * @throws why they are refused
   */
  accept(events: Uint8Array | string, count: number): Promise<void> | undefined
}

/** Hears of each chunk of an upstream, and of each event that is a piece of the answer. */
export interface RelayClock extends ChunkObserver {
  content(): void
}

/** The parts of the stream that a relay fills. */
export interface RelayTarget {
  readonly sink: EventSink
  readonly clock: RelayClock
  /** The state of the client's events so far; `undefined` if their dialect is unknown. */
  readonly transcript: Transcript | undefined
  /** Aborts when the stream must stop. */
  readonly stopSignal: AbortSignalLike
  /** Registers the upstream with the stream, as soon as it has responded: the stream will release it. */
  open(source: UpstreamSource | PromiseLike<UpstreamSource>): UpstreamSource | PromiseLike<UpstreamSource>
  /**
   * The upstream's bytes are about to be passed on unchanged: as long as the client has had nothing, it may be sent the same
   * head.
   *
   * @returns how the client's stream is framed
   */
  follow(upstream: { status: number | undefined; framing: Framing }): Framing
  /** The wire text of one event for the client. */
  encode(event: SSEEvent): string
  /** Observes and writes one event. */
  write(event: SSEEvent): Promise<void> | undefined
  /** How a complete answer that came as JSON becomes events. */
  readonly dialect: StreamDialect | undefined
  /**
   * Nothing more will come of the upstream.
   *
   * @param received how many events came
   * @throws StreamError `upstream_truncated` when the client would miss the end
   */
  relayed(received: number): void
}
