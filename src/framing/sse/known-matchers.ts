import type { EventShape } from './event-shape.js'
import type { EventMatcher } from './repeats.js'

const mostMatchers = 100

/** Streams of one upstream look alike: they share what finds their events. */
export class KnownMatchers<Written> {
  readonly #make: (shape: EventShape) => EventMatcher<Written>
  readonly #matchers = new Map<string, EventMatcher<Written>>()

  constructor(make: (shape: EventShape) => EventMatcher<Written>) {
    this.#make = make
  }

  of(shape: EventShape): EventMatcher<Written> {
    const key = JSON.stringify(shape)
    const known = this.#matchers.get(key)
    if (known) return known
    if (this.#matchers.size >= mostMatchers) this.#matchers.clear()
    const matcher = this.#make(shape)
    this.#matchers.set(key, matcher)
    return matcher
  }
}
