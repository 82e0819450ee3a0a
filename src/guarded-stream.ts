import type { Guarded } from './guard-registry.js'
import { TimeoutCoordinator } from './timeout-coordinator.js'

/** What a handler may know of the stream it is writing. */
export interface GuardedStream {
  /** Hand it to every call of the upstream: it aborts when the client leaves or a deadline passes. */
  readonly signal: AbortSignal
  /** Its deadlines. */
  readonly timeouts: TimeoutCoordinator
  /** The id it has in logs, records and `x-request-id`. */
  readonly requestId: string
}

/**
 * What the registry holds of a guard: whoever asks must find it also when the response is over, but what a WeakMap
 * holds outlives the young generation, and the guard itself would take the whole exchange along.
 */
export class RegisteredGuard implements Guarded, GuardedStream {
  /** As long as the response is not over. */
  #guard: (Guarded & GuardedStream) | undefined
  #refused = false
  #requestId: string | undefined
  #timeouts: TimeoutCoordinator | undefined

  constructor(guard: Guarded & GuardedStream) {
    this.#guard = guard
  }

  /**
   * The response is over.
   *
   * @param requestId if it has one already
   * @param timeouts unless it simply completed
   */
  finish(refused: boolean, requestId: string | undefined, timeouts: TimeoutCoordinator | undefined): void {
    this.#guard = undefined
    this.#refused = refused
    this.#requestId = requestId
    this.#timeouts = timeouts
  }

  get isOver(): boolean {
    return this.#guard === undefined
  }

  get refused(): boolean {
    return this.#guard?.refused ?? this.#refused
  }

  get requestId(): string {
    if (this.#guard) return this.#guard.requestId
    this.#requestId ??= crypto.randomUUID()
    return this.#requestId
  }

  get timeouts(): TimeoutCoordinator {
    if (this.#guard) return this.#guard.timeouts
    this.#timeouts ??= completed()
    return this.#timeouts
  }

  get signal(): AbortSignal {
    return this.timeouts.signal
  }

  readBodyFrom(parsed: () => unknown): void {
    this.#guard?.readBodyFrom(parsed)
  }

  stepAside(): void {
    this.#guard?.stepAside()
  }

  answer(error: unknown): boolean {
    return this.#guard?.answer(error) ?? this.#refused
  }

  answerAtLast(error: unknown): void {
    this.#guard?.answerAtLast(error)
  }
}

function completed(): TimeoutCoordinator {
  const timeouts = new TimeoutCoordinator(false)
  timeouts.settle()
  return timeouts
}
