/** Waiting for the client to catch up. */
export interface Drain {
  promise: Promise<void>
  resolve(): void
  reject(reason: unknown): void
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
