import type { Clock, Timer } from '../timeouts/clock.js'

/** How long a stream may be silent before a sign of life is sent, if nothing is set. */
export const defaultHeartbeatMs = 15_000

export interface HeartbeatOptions {
  /** When the first beat comes, if nothing was committed by then. */
  firstMs: number
  /** How long the stream may be silent afterwards. */
  everyMs: number
  clock: Clock
}

const never = Number.POSITIVE_INFINITY

/**
 * Says when a silent stream needs a sign of life. One timer, re-armed when it fires: activity in between
 * only stores the time.
 */
export class Heartbeat {
  readonly #beat: () => void
  readonly #clock: Clock
  readonly #firstMs: number
  readonly #everyMs: number
  #timer: Timer | undefined
  #dueAt = never
  #held = false

  constructor(beat: () => void, { clock, firstMs, everyMs }: HeartbeatOptions) {
    this.#beat = beat
    this.#clock = clock
    this.#firstMs = firstMs
    this.#everyMs = everyMs
  }

  start(): void {
    this.#due(this.#firstMs)
  }

  /** The head is out: from now on the regular interval counts. */
  committed(): void {
    this.#clock.clearTimeout(this.#timer)
    this.#timer = undefined
    this.#due(this.#everyMs)
  }

  /** Something was written: the silence starts again. */
  postpone(): void {
    if (this.#dueAt !== never) this.#dueAt = this.#clock.now() + this.#everyMs
  }

  /** The client is not reading: more bytes would only pile up. */
  hold(): void {
    this.#held = true
  }

  resume(): void {
    this.#held = false
  }

  stop(): void {
    this.#clock.clearTimeout(this.#timer)
    this.#timer = undefined
    this.#dueAt = never
  }

  #due(afterMs: number): void {
    this.#dueAt = this.#clock.now() + afterMs
    if (this.#dueAt !== never) this.#timer = this.#clock.setTimeout(this.#fired, afterMs)
  }

  readonly #fired = (): void => {
    const remainingMs = this.#dueAt - this.#clock.now()
    if (remainingMs <= 0) {
      this.#dueAt = this.#clock.now() + this.#everyMs
      if (!this.#held) this.#beat()
    }
    // The beat may have stopped us, or armed the next interval itself.
    if (this.#dueAt === never) return
    this.#clock.clearTimeout(this.#timer)
    this.#timer = this.#clock.setTimeout(this.#fired, Math.max(this.#dueAt - this.#clock.now(), 1))
  }
}
