import { byteEvents } from './byte-events.js'
import { toByteText } from './byte-text.js'
import type { EventStreamParser } from './parse.js'
import { RepeatedEvent } from './repeats.js'

/** What is known of the stream, and of the event that was parsed last. */
export interface LastEvent {
  /** See `FollowedEvents.differing`. */
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
