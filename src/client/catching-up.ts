/** Nothing to wait for. */
export const ready = Promise.resolve()

/** The least amount of bytes that is worth waiting for. */
export function unlessReady(written: Promise<void>): Promise<void> | undefined {
  return written === ready ? undefined : written
}

/** The wait for a client that has to catch up: one promise for all that is written meanwhile. */
export class CatchingUp {
  /** `undefined` while the client keeps up. */
  promise: Promise<void> | undefined
  #resolve: (() => void) | undefined
  #reject: ((reason: unknown) => void) | undefined

  /** The client has fallen behind. */
  start(): Promise<void> {
    const promise = new Promise<void>((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    // A caller that does not wait must not cause an unhandled rejection.
    promise.catch(() => {})
    this.promise = promise
    return promise
  }

  /** The client has caught up. */
  end(): void {
    this.promise = undefined
    this.#resolve?.()
  }

  /** It never will. */
  giveUp(reason: unknown): void {
    this.promise = undefined
    this.#reject?.(reason)
  }
}
