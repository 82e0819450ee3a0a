/** Waiting for the client to catch up. */
export interface Drain {
  promise: Promise<void>
  resolve(): void
  reject(reason: unknown): void
}

/** Nothing to wait for. */
export const atOnce = Promise.resolve()

/** What is worth waiting for. */
export function unlessAtOnce(ready: Promise<void>): Promise<void> | undefined {
  return ready === atOnce ? undefined : ready
}

export function startDrain(): Drain {
  const drain = {} as Drain
  drain.promise = new Promise<void>((resolve, reject) => {
    drain.resolve = resolve
    drain.reject = reject
  })
  // Nobody has to wait for it.
  drain.promise.catch(() => {})
  return drain
}
