const fullLength = 16 * 1024
/** The most that one XADD holds, unless a single `append` is longer. */
const maxBatchLength = 64 * 1024
/** How many events may go together, in a stream that keeps few. */
const minBatchEvents = 64

/** Events that Redis has not confirmed, of one stream. */
export class RedisBacklog {
  /** How many events there were in all. */
  last = 0
  length = 0
  readonly #limits: { readonly maxBytes: number; readonly maxEvents: number }
  readonly #unconfirmed: { length: number }
  #parts: { readonly events: string; readonly count: number }[] = []
  /** The number of the last event that was taken. */
  #taken = 0
  /** The length of the text that was taken and is not confirmed. */
  #takenLength = 0

  constructor(
    limits: { readonly maxBytes: number; readonly maxEvents: number },
    unconfirmed: { length: number },
  ) {
    this.#limits = limits
    this.#unconfirmed = unconfirmed
  }

  /** Whether there is so much that it should not wait for its turn. */
  get isFull(): boolean {
    return this.length >= fullLength
  }

  get isEmpty(): boolean {
    return this.#parts.length === 0
  }

  add(events: string, count: number): void {
    this.last += count
    this.#parts.push({ events, count })
    this.#grow(events.length)
  }

  /** Counts events that are not recorded. */
  skip(count: number): void {
    this.last += count
    this.#taken = this.last
  }

  /** As many of the first ones as go together: what is trimmed later goes as it came. */
  take(): { readonly text: string; readonly first: number; readonly last: number } {
    const { maxBytes, maxEvents } = this.#limits
    const maxCount = Math.max(minBatchEvents, maxEvents / 4)
    const maxLength = Math.min(maxBatchLength, Math.max(maxBytes / 4, 1_024))
    let taken = 0
    let count = 0
    let length = 0
    for (const part of this.#parts) {
      if (taken > 0 && (count + part.count > maxCount || length + part.events.length > maxLength)) break
      taken++
      count += part.count
      length += part.events.length
    }
    const parts = this.#parts.splice(0, taken)
    const first = this.#taken + 1
    this.#taken += count
    this.#takenLength += length
    return { text: parts.map(({ events }) => events).join(''), first, last: this.#taken }
  }

  /** The text that was taken is confirmed, or given up. */
  confirm(): void {
    this.#grow(-this.#takenLength)
    this.#takenLength = 0
  }

  /** Gives up all that was not taken. */
  drop(): void {
    this.#grow(this.#takenLength - this.length)
    this.#parts = []
    this.#taken = this.last
  }

  #grow(length: number): void {
    this.length += length
    this.#unconfirmed.length += length
  }
}
