import type { SSEEvent } from './encode.js'
import { EventBoundary } from './event-boundary.js'
import { FollowedBytes, type LastEvent } from './followed-bytes.js'
import { endsInBlankLine } from './framing.js'
import { defaultMaxEventBytes, EventStreamParser } from './parse.js'

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
