import { firstReadable } from './cursor.js'
import type { Followed } from './resume-store.js'

/** Whole events that were appended together. */
interface Kept {
  readonly events: string
  readonly first: number
  readonly last: number
  readonly bytes: number
}

/** How much one page of a follower may hold, in characters, unless one entry alone is longer. */
const pageLength = 64 * 1024
/** How many dropped entries may stand before the kept ones until their place is given back. */
const maxDropped = 1_024

/** The events of one stream that are kept: the newest ones, within its limits. */
export class KeptEvents {
  /** The number of the last event; 0 before there is one. */
  last = 0
  bytes = 0
  readonly #limits: { readonly maxBytes: number; readonly maxEvents: number }
  #kept: (Kept | undefined)[] = []
  #dropped = 0

  constructor(limits: { readonly maxBytes: number; readonly maxEvents: number }) {
    this.#limits = limits
  }

  /** The number of the first event that is still there; 0 while there is none. */
  get first(): number {
    return this.#kept[this.#dropped]?.first ?? 0
  }

  add(events: string, count: number): void {
    const bytes = Buffer.byteLength(events)
    this.#kept.push({ events, first: this.last + 1, last: this.last + count, bytes })
    this.last += count
    this.bytes += bytes
    const { maxBytes, maxEvents } = this.#limits
    while (this.first > 0 && (this.bytes > maxBytes || this.last - this.first >= maxEvents)) this.drop()
  }

  /** Lets the oldest entry go. @returns whether there was one */
  drop(): boolean {
    const oldest = this.#kept[this.#dropped]
    if (!oldest) return false
    this.#kept[this.#dropped++] = undefined
    this.bytes -= oldest.bytes
    if (this.#dropped >= maxDropped) {
      this.#kept = this.#kept.slice(this.#dropped)
      this.#dropped = 0
    }
    return true
  }

  /** The next piece for a follower that has had `after` events; `undefined` if there is nothing yet. */
  next(after: number): Extract<Followed, { last: number } | { gap: unknown }> | undefined {
    if (after >= this.last) return undefined
    const first = firstReadable(this)
    if (first > after + 1) return { gap: [after + 1, first - 1] }
    const start = this.#at(after + 1)
    const page: Kept[] = []
    let length = 0
    for (let at = start; at < this.#kept.length; at++) {
      const each = this.#kept[at] as Kept
      length += each.events.length
      if (page.length > 0 && length > pageLength) break
      page.push(each)
    }
    const events = page.map((each) => each.events).join('')
    return { events, first: page[0]?.first ?? 0, last: page.at(-1)?.last ?? 0 }
  }

  /** Where the entry stands that holds this event. */
  #at(number: number): number {
    let low = this.#dropped
    let high = this.#kept.length - 1
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#kept[middle] as Kept).last < number) low = middle + 1
      else high = middle
    }
    return low
  }
}
