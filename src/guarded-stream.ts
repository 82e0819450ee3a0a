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
 * What is kept of a guard when its response is over. Whoever still asks must find it, but what a WeakMap holds
 * outlives the young generation, and the guard itself would take the whole exchange along.
 */
export class FinishedGuard implements Guarded, GuardedStream {
  readonly refused: boolean
  #requestId: string | undefined
  #timeouts: TimeoutCoordinator | undefined

  /**
   * @param requestId if it has one already
   * @param timeouts unless it simply completed
   */
  constructor(refused: boolean, requestId: string | undefined, timeouts: TimeoutCoordinator | undefined) {
    this.refused = refused
    this.#requestId = requestId
    this.#timeouts = timeouts
  }

  get requestId(): string {
    this.#requestId ??= crypto.randomUUID()
    return this.#requestId
  }

  get timeouts(): TimeoutCoordinator {
    this.#timeouts ??= completed()
    return this.#timeouts
  }

  get signal(): AbortSignal {
    return this.timeouts.signal
  }

  readBodyFrom(): void {}

  stepAside(): void {}

  answer(): boolean {
    return this.refused
  }

  answerAtLast(): void {}
}

function completed(): TimeoutCoordinator {
  const timeouts = new TimeoutCoordinator(false)
  timeouts.settle()
  return timeouts
}
