/** Which entries of a stream are within its limits: what goes is as old as possible, and as little. */
export class RedisKept {
  readonly #limits: { readonly maxBytes: number; readonly maxEvents: number }
  #entries: { readonly first: number; readonly count: number; readonly bytes: number }[] = []
  #events = 0
  #bytes = 0

  constructor(limits: { readonly maxBytes: number; readonly maxEvents: number }) {
    this.#limits = limits
  }

  /** @returns the first event that is to stay, if those before it may go now */
  add(first: number, last: number, bytes: number): number | undefined {
    const count = last - first + 1
    this.#entries.push({ first, count, bytes })
    this.#events += count
    this.#bytes += bytes
    let dropped = 0
    for (const { count, bytes } of this.#entries) {
      const { maxEvents, maxBytes } = this.#limits
      if (this.#events - count < maxEvents && this.#bytes - bytes < maxBytes) break
      this.#events -= count
      this.#bytes -= bytes
      dropped++
    }
    if (dropped === 0) return undefined
    this.#entries.splice(0, dropped)
    return this.#entries[0]?.first
  }
}
