/** As much of an `AbortSignal` as is asked of one here. */
export interface AbortSignalLike {
  /** Whether it has aborted. */
  readonly aborted: boolean
  /** Why; what is stopped by it rejects with this. */
  readonly reason: unknown
  /** Tells `listener` once, when it aborts. */
  addEventListener(type: 'abort', listener: (() => void) | { handleEvent(): void }): void
  /** Takes a listener off. */
  removeEventListener(type: 'abort', listener: (() => void) | { handleEvent(): void }): void
}
