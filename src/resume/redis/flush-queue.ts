import { systemClock, type Timer } from '../../timeouts/clock.js'

/** Calls each stream back `flushMs` after its first event that is not sent: one timer for all of them. */
export class FlushQueue {
  readonly #flushMs: number
  /** In the order in which they are due, since all wait equally long. */
  readonly #dueAt = new Map<() => void, number>()
  #timer: Timer | undefined

  constructor(flushMs: number) {
    this.#flushMs = flushMs
  }

  add(flush: () => void): void {
    if (this.#dueAt.has(flush)) return
    this.#dueAt.set(flush, systemClock.now() + this.#flushMs)
    this.#arm()
  }

  delete(flush: () => void): void {
    this.#dueAt.delete(flush)
  }

  #arm(): void {
    // In a few portions: what all streams of a process send at once would hold everything else up.
    this.#timer ??= systemClock.setTimeout(() => this.#run(), this.#flushMs / 8)
  }

  #run(): void {
    this.#timer = undefined
    const now = systemClock.now()
    for (const [flush, dueAt] of this.#dueAt) {
      if (dueAt > now) break
      this.#dueAt.delete(flush)
      flush()
    }
    if (this.#dueAt.size > 0) this.#arm()
  }
}
