import { systemClock, type Timer } from '../timeouts/clock.js'
import type { Recorder } from './resume-store.js'

/** How long it takes at most to notice that the last reader has gone. */
const maxLookMs = 1_000

interface DetachmentOptions {
  readonly detachMs: number
  readonly maxBytes: number
  /** No client has read the stream for `detachMs`. */
  over(): void
  /** No client has read more than `maxBytes` of it. */
  full(): void
}

/** The time in which a stream goes on although its client has left. As long as others read it, it does. */
export class Detachment {
  readonly #recorder: Pick<Recorder, 'followers' | 'complete'>
  readonly #options: DetachmentOptions
  #timer: Timer | undefined
  /** Since when no client reads. */
  #aloneSince = systemClock.now()
  #unreadBytes = 0

  constructor(recorder: Pick<Recorder, 'followers' | 'complete'>, options: DetachmentOptions) {
    this.#recorder = recorder
    this.#options = options
    this.#plan()
  }

  append(events: string): void {
    this.#unreadBytes = this.#recorder.followers > 0 ? 0 : this.#unreadBytes + Buffer.byteLength(events)
    if (this.#unreadBytes <= this.#options.maxBytes) return
    this.#unreadBytes = 0
    this.#options.full()
  }

  end(): void {
    systemClock.clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #plan(): void {
    const leftMs = this.#aloneSince + this.#options.detachMs - systemClock.now()
    this.#timer = systemClock.setTimeout(this.#look, Math.min(leftMs, maxLookMs))
  }

  readonly #look = (): void => {
    const now = systemClock.now()
    if (this.#recorder.followers > 0) this.#aloneSince = now
    // A client can never read events that are not recorded.
    const isOver = now - this.#aloneSince >= this.#options.detachMs || !this.#recorder.complete
    if (isOver) this.#options.over()
    else this.#plan()
  }
}
