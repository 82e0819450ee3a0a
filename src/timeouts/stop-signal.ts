import { allowManyListeners } from './many-listeners.js'

type AbortListener = Parameters<AbortSignalLike['addEventListener']>[1]

/**
 * An `AbortSignal` for the parts of one stream among themselves. On Node 20 a real one costs more than ten microseconds
 * and a hidden class of its own, and what listens to it was seen to outlive the young generation: a stream has one only
 * if its handler asks.
 */
export class StopSignal implements AbortSignalLike {
  aborted = false
  #reason: unknown
  #makeReason: (() => unknown) | undefined
  #listeners: AbortListener[] = []
  #controller: AbortController | undefined
  #isQuiet = false

  /** A real one, for a handler: it aborts when all parts have been notified. */
  get abortSignal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController()
      allowManyListeners(this.#controller.signal)
      if (this.aborted && !this.#isQuiet) this.#controller.abort(this.reason)
    }
    return this.#controller.signal
  }

  addEventListener(_type: 'abort', listener: AbortListener): void {
    // push() would make room for seventeen.
    this.#listeners = this.#listeners.concat([listener])
  }

  removeEventListener(_type: 'abort', listener: AbortListener): void {
    this.#listeners = this.#listeners.filter((each) => each !== listener)
  }

  /**
   * Waits for `work`, or rejects with the reason as soon as it aborts. Not by p-timeout: a promise that passes through that
   * outlives the young generation, too.
   */
  async run<T>(work: PromiseLike<T>): Promise<T> {
    let abort = () => {}
    const aborted = new Promise<never>((_, reject) => {
      abort = () => reject(this.reason)
    })
    if (this.aborted) abort()
    else this.addEventListener('abort', abort)
    try {
      return await Promise.race([work, aborted])
    } finally {
      this.removeEventListener('abort', abort)
    }
  }

  get reason(): unknown {
    this.#reason ??= this.#makeReason?.()
    return this.#reason
  }

  /**
   * All has been done: later work is refused with the reason, but the real signal stays quiet. An error for each good
   * stream would be a tenth of what it costs to set one up.
   */
  finish(makeReason: () => unknown): void {
    if (this.aborted) return
    this.aborted = this.#isQuiet = true
    this.#makeReason = makeReason
    this.#listeners = []
  }

  /** @param between called when all parts have been notified, before other listeners hear of it */
  abort(reason: unknown, between?: () => void): void {
    if (this.aborted) return
    this.aborted = true
    this.#reason = reason
    const listeners = this.#listeners
    this.#listeners = []
    for (const listener of listeners) {
      if (typeof listener === 'function') listener()
      else listener.handleEvent()
    }
    between?.()
    this.#controller?.abort(reason)
  }
}

/** As much of an `AbortSignal` as is asked of one here. */
export interface AbortSignalLike {
  /** Whether it has aborted. */
  readonly aborted: boolean
  /** Why; work that is stopped by it rejects with this. */
  readonly reason: unknown
  /** Tells `listener` once, when it aborts. */
  addEventListener(type: 'abort', listener: (() => void) | { handleEvent(): void }): void
  /** Takes a listener off. */
  removeEventListener(type: 'abort', listener: (() => void) | { handleEvent(): void }): void
}
