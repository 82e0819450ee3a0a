import { processWide } from './process-wide.js'

/** What the rest of the library, and another copy of it in this process, may know of the guard of a response. */
export interface Guarded {
  readonly requestId: string
  readonly signal: AbortSignal
  /** Whether the request has been answered, or left, before its handler ran. */
  readonly refused: boolean
  /** Tells where the framework keeps the parsed body. */
  readBodyFrom(parsed: () => unknown): void
  /** A stream written the unhang way takes the response over. */
  stepAside(): void
  /**
   * The framework has an error that nobody answered.
   *
   * @returns whether it has been answered now
   */
  answer(error: unknown): boolean
  /** The listener itself failed: there is nobody else to answer. */
  answerAtLast(error: unknown): void
}

/** One registry per process; requests and responses are its keys. */
export const guards = processWide('guards', () => new WeakMap<object, Guarded>())
