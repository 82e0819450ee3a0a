import { afterInput, systemClock, type Timer } from '../timeouts/clock.js'
import type { UpstreamCall } from './call-owner.js'

/** An adopted call, as far as it matters when it breaks. */
export interface AdoptedCall {
  /** How often the handler had written when its head came. */
  readonly writesBefore: number
  /** Whether another one has come to its good end since: then this one may have lost a race. */
  isExcused: boolean
}

/** The questions to the response that the calls were made for. */
interface Verdict {
  /** Whether the handler may do nothing more: it waits for no call, and its client keeps up. */
  isStuck(broken: AdoptedCall): boolean
  /** Reports the break to the client. */
  report(): void
}

/** Upstreams that broke: does the handler go on without them, or will it wait for ever? */
export class BrokenCalls {
  readonly #breakMs: () => number
  readonly #verdict: Verdict
  #others: UpstreamCall[] = []
  #last: AdoptedCall | undefined
  #brokeAt = 0
  #movedAt = 0
  #timer: Timer | undefined

  constructor(breakMs: () => number, verdict: Verdict) {
    this.#breakMs = breakMs
    this.#verdict = verdict
  }

  /** It has a good response that is not a stream: until that is whole, the handler may be making its events from it. */
  goesBeside(call: UpstreamCall): void {
    this.#others = [...this.#others.filter(({ isRunning }) => isRunning), call]
  }

  add(call: AdoptedCall): void {
    if (this.#others.some(({ isRunning }) => isRunning)) return
    this.#last = call
    this.#brokeAt = systemClock.now()
    this.moved()
    this.#timer ??= this.#arm(this.#breakMs())
  }

  /** The handler does something: it writes, or makes another call. */
  moved(): void {
    if (this.#last) this.#movedAt = systemClock.now()
  }

  /** Another call has a response, or has ended: the handler's ending may be from there. */
  excuse(): void {
    if (this.#last) this.#last.isExcused = true
  }

  /** Whether the handler could not know that the answer is complete, if it said so now. */
  get denyEnding(): boolean {
    const breakMs = this.#breakMs()
    if (!this.#last || this.#last.isExcused || !Number.isFinite(breakMs)) return false
    return systemClock.now() - this.#brokeAt <= breakMs
  }

  stop(): void {
    this.#last = undefined
    this.#others = []
    systemClock.clearTimeout(this.#timer)
  }

  #arm(delayMs: number): Timer {
    return systemClock.setTimeout(() => afterInput(systemClock, this.#judge), delayMs)
  }

  readonly #judge = (): void => {
    this.#timer = undefined
    if (!this.#last) return
    const breakMs = this.#breakMs()
    const leftMs = this.#movedAt + breakMs - systemClock.now()
    if (leftMs <= 0 && this.#verdict.isStuck(this.#last)) return this.#verdict.report()
    this.#timer = this.#arm(leftMs > 0 ? leftMs : breakMs)
  }
}
