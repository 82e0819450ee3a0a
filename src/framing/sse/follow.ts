import { byteEvents } from './byte-events.js'
import type { SSEEvent } from './encode.js'
import { EventBoundary, endsInBlankLine, toByteText } from './framing.js'
import { defaultMaxEventBytes, EventStreamParser } from './parse.js'
import { RepeatedEvent } from './repeats.js'

/** The bytes of an event stream that somebody else writes: what they say, and where something fits in between. */
export class ObservedBytes {
  readonly #boundary = new EventBoundary()
  readonly #parser: EventStreamParser
  readonly #followed: FollowedBytes

  constructor(onEvent: (event: SSEEvent) => void, last: LastEvent, maxEventBytes = defaultMaxEventBytes) {
    this.#parser = new EventStreamParser(onEvent, maxEventBytes)
    this.#followed = new FollowedBytes(this.#parser, last, maxEventBytes)
  }

  /**
   * @returns how many events are known to be pieces of the answer, and were not handed out
   * @throws StreamError `upstream_protocol` for an event that is too long, after those before it
   */
  observe(bytes: Buffer): number {
    // Whole events after whole events, as most handlers write them.
    const isWhole = this.#boundary.isClean && endsInBlankLine(bytes)
    let repeated = 0
    if (isWhole) repeated = this.#followed.feed(bytes)
    else {
      this.#boundary.observe(bytes)
      this.#parser.feed(bytes)
    }
    this.#parser.check()
    return repeated
  }

  /** See `FollowedBytes.isOneMore`: such bytes need not be observed. */
  isOneMore(bytes: Uint8Array): boolean {
    return this.#boundary.isClean && this.#followed.isOneMore(bytes)
  }

  /** There will be no more of them. */
  end(): void {
    this.#parser.end()
  }

  get betweenEvents(): boolean {
    return this.#boundary.betweenEvents
  }

  /** What ends the event that has begun, so that another can follow. */
  get closing(): string {
    return this.#boundary.closing
  }
}

/** What is known of the stream, and of the event that was parsed last. */
export interface LastEvent {
  /** See `Transcript.differing`. */
  readonly differing: RegExp | undefined
  /** Whether that event was a piece of the answer. */
  readonly isContent: boolean
}

/**
 * Follows whole events: those that repeat the one before but for their text are counted, all others
 * are parsed.
 */
export class FollowedBytes {
  /** Whether all that came last was events that need not be parsed. */
  sawAll = false
  readonly #parser: EventStreamParser
  readonly #last: LastEvent
  readonly #maxLength: number
  readonly #repeated = new RepeatedEvent(byteEvents)
  #learnedWith: RegExp | undefined
  /** How long one piece alone is at most. */
  #mostLength = 0

  constructor(parser: EventStreamParser, last: LastEvent, maxEventBytes: number) {
    this.#parser = parser
    this.#last = last
    this.#maxLength = maxEventBytes
  }

  /** Whether this is one more piece of the answer, in the form of the one before, and nothing else. */
  isOneMore(bytes: Uint8Array): boolean {
    const { length } = bytes
    // In what may well be several the first one would be looked for twice.
    if (length === 0 || length > this.#mostLength || this.#last.differing !== this.#learnedWith) return false
    return this.#repeated.endOf(bytes, 0) === length
  }

  /**
   * @param bytes whole events
   * @returns how many of them are known to be pieces of the answer, and were not parsed
   */
  feed(bytes: Buffer): number {
    this.sawAll = false
    // Events that came another way may have changed what the next ones mean.
    if (this.#last.differing !== this.#learnedWith) this.#repeated.forget()
    const isLong = bytes.length > this.#maxLength
    let repeated = 0
    let at = 0
    for (
      let end = isLong ? 0 : this.#repeated.endOf(bytes, 0);
      end > 0;
      end = this.#repeated.endOf(bytes, at)
    ) {
      at = end
      repeated++
    }
    if (at === bytes.length) {
      this.sawAll = true
      return repeated
    }
    this.#parser.feed(at === 0 ? bytes : bytes.subarray(at))
    this.#learn(bytes)
    return repeated
  }

  #learn(bytes: Buffer): void {
    const { differing, isContent } = this.#last
    if (!differing) return this.#repeated.forget()
    if (!isContent) return
    const text = toByteText(bytes)
    const event = text.slice(text.lastIndexOf('\n\n', text.length - 3) + 1)
    const [, whole] = simpleEvent.exec(event) ?? []
    if (!whole) return
    this.#repeated.learn(bytes.subarray(-whole.length), differing)
    this.#learnedWith = differing
    this.#mostLength = Math.min(2 * whole.length, this.#maxLength)
  }
}

/** A name, if any, and data, on a line each. */
const simpleEvent = /^\n?((?:event:[^\r\n]*\n)?data:[^\r\n]*\n\n)$/
