import { EventBoundary } from './event-boundary.js'
import { EventStreamParser } from './event-stream-parser.js'
import type { SSEEvent } from './sse-encode.js'

/** The bytes of an event stream that somebody else writes: what they say, and where something fits in between. */
export class ObservedBytes {
  readonly #boundary = new EventBoundary()
  readonly #parser: EventStreamParser

  constructor(onEvent: (event: SSEEvent) => void, maxEventBytes?: number) {
    this.#parser = new EventStreamParser(onEvent, maxEventBytes)
  }

  /** @throws StreamError `upstream_protocol` for an event that is too long, after those before it */
  observe(bytes: Buffer): void {
    this.#boundary.observe(bytes)
    this.#parser.feed(bytes)
    this.#parser.check()
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
