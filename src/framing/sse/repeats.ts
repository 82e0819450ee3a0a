const mostVainLessons = 5

/** Finds an event that is one before again, but for the values in which it may differ. */
export interface EventMatcher<Written> {
  /** Where the event that begins here ends; 0 if it is none of those. */
  endOf(written: Written, start: number): number
}

/** What events are written in: text or bytes. */
export interface EventForm<Written> {
  /** Most look as the last one did, by the members in which their events may differ. */
  readonly latest: WeakMap<RegExp, EventMatcher<Written>>
  /** @returns `undefined` for an event that is one of its kind */
  matcherOf(event: Written, members: RegExp): EventMatcher<Written> | undefined
}

/**
 * Recognizes an event that is one before again, but for the text it carries: of a thousand events of an answer
 * nearly all are. While the stream's state is the same, what was found out about the one holds for the other, which
 * need not be parsed.
 */
export class RepeatedEvent<Written extends string | Uint8Array> {
  readonly #form: EventForm<Written>
  #matcher: EventMatcher<Written> | undefined
  /** How many events were learned in a row that nothing repeated. */
  #vain = 0

  constructor(form: EventForm<Written>) {
    this.#form = form
  }

  /** @param members finds the start of the value of each JSON member in which events may differ; global */
  learn(event: Written, members: RegExp): void {
    if (this.#vain >= mostVainLessons) return this.forget()
    this.#vain++
    const { latest } = this.#form
    const known = latest.get(members)
    if (known?.endOf(event, 0) === event.length) {
      this.#matcher = known
      return
    }
    // Not from the first: it may stay the only one.
    if (this.#vain === 1) return
    this.#matcher = this.#form.matcherOf(event, members)
    if (this.#matcher) latest.set(members, this.#matcher)
  }

  forget(): void {
    this.#matcher = undefined
  }

  /** Where the event that begins here ends, if it repeats the one that was learned; else 0. */
  endOf(written: Written, start: number): number {
    // Behind the last event there is nothing to look for.
    const end = this.#matcher && start < written.length ? this.#matcher.endOf(written, start) : 0
    if (end > 0) this.#vain = 0
    return end
  }
}
