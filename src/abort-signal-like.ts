export type AbortListener = (() => void) | { handleEvent(): void }

/** As much of an `AbortSignal` as is asked of one here. */
export interface AbortSignalLike {
  readonly aborted: boolean
  readonly reason: unknown
  addEventListener(type: 'abort', listener: AbortListener): void
  removeEventListener(type: 'abort', listener: AbortListener): void
}
