import type { Clock, Timer } from './clock.js'

export interface HeartbeatOptions {
  /** When the first beat comes, if nothing was committed by then. */
  firstMs: number
  /** How long the stream may be silent afterwards. */
  everyMs: number
  clock: Clock
}

const never = Number.POSITIVE_INFINITY

/**
 * Says when a silent stream needs a sign of life. One timer, re-armed when it fires: what happens in between
 * only stores the time.
 */
export class Heartbeat {
  readonly #beat: () => void
  readonly #options: HeartbeatOptions
  #timer: Timer | undefined
  #dueAt = never
  #held = false

  constructor(beat: () => void, options: HeartbeatOptions) {
    this.#beat = beat
    this.#options = options
  }

  start(): void {
    this.#due(this.#options.firstMs)
  }

  /** The head is out: from now on the regular interval counts. */
  committed(): void {
    this.#options.clock.clearTimeout(this.#timer)
    this.#timer = undefined
    this.#due(this.#options.everyMs)
  }

  /** Something was written: the silence starts again. */
  postpone(): void {
    if (this.#dueAt !== never) this.#dueAt = this.#options.clock.now() + this.#options.everyMs
  }

  /** The client is not reading: more bytes would only pile up. */
  hold(): void {
    this.#held = true
  }

  resume(): void {
    this.#held = false
  }

  stop(): void {
    this.#options.clock.clearTimeout(this.#timer)
    this.#timer = undefined
    this.#dueAt = never
  }

  #due(afterMs: number): void {
    this.#dueAt = this.#options.clock.now() + afterMs
    if (this.#dueAt !== never) this.#timer = this.#options.clock.setTimeout(this.#fired, afterMs)
  }

  readonly #fired = (): void => {
    const { clock, everyMs } = this.#options
    const remainingMs = this.#dueAt - clock.now()
    if (remainingMs <= 0) {
      this.#dueAt = clock.now() + everyMs
      if (!this.#held) this.#beat()
    }
    // The beat may have stopped us, or armed the next interval itself.
    if (this.#dueAt === never) return
    clock.clearTimeout(this.#timer)
    this.#timer = clock.setTimeout(this.#fired, Math.max(this.#dueAt - clock.now(), 1))
  }
}
