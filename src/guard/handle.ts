import type { Guarded } from '../registry.js'
import { HandlerDeadlines, type StreamDeadlines } from '../timeouts/stream-deadlines.js'
import { TimeoutCoordinator } from '../timeouts/timeout-coordinator.js'

/** What a handler may know of the stream it is writing. */
export interface GuardedStream {
  /** Hand it to every call of the upstream: it aborts when the client leaves or a deadline passes. */
  readonly signal: AbortSignal
  /** Which deadline it is waiting for, and for how long it has been running. */
  readonly deadlines: StreamDeadlines
  /** The id it has in logs, records and `x-request-id`. */
  readonly requestId: string
}

/** What stands in front of a response while it lasts. */
export interface WatchedResponse {
  readonly refused: boolean
  readonly timeouts: TimeoutCoordinator
  readonly subject: { readonly requestId: string }
  readBodyFrom(parsed: () => unknown): void
  stepAside(): void
  answer(error: unknown): boolean
  answerAtLast(error: unknown): void
}

const nothingLeft: GuardOutcome = { refused: false, requestId: undefined, timeouts: undefined }

interface GuardOutcome {
  readonly refused: boolean
  /** If it has one already. */
  requestId: string | undefined
  /** Unless it simply completed. */
  timeouts: TimeoutCoordinator | undefined
}

/**
 * What the registry holds of a guard: whoever asks must find it also when the response is over, but what a WeakMap
 * holds outlives the young generation, and the guard itself would take the whole exchange along.
 */
export class GuardHandle implements Guarded, GuardedStream {
  /** As long as the response is not over. */
  #guard: WatchedResponse | undefined
  #left: GuardOutcome = nothingLeft

  constructor(guard: WatchedResponse) {
    this.#guard = guard
  }

  /** The response is over. */
  finish(left: GuardOutcome): void {
    this.#guard = undefined
    this.#left = left
  }

  get isOver(): boolean {
    return this.#guard === undefined
  }

  get refused(): boolean {
    return this.#guard?.refused ?? this.#left.refused
  }

  get requestId(): string {
    if (this.#guard) return this.#guard.subject.requestId
    this.#left.requestId ??= crypto.randomUUID()
    return this.#left.requestId
  }

  get #clock(): TimeoutCoordinator {
    if (this.#guard) return this.#guard.timeouts
    this.#left.timeouts ??= completed()
    return this.#left.timeouts
  }

  get deadlines(): StreamDeadlines {
    return new HandlerDeadlines(this.#clock)
  }

  get signal(): AbortSignal {
    return this.#clock.signal
  }

  /** What it was called. */
  get timeouts(): never {
    throw new TypeError('there is no stream.timeouts: write stream.deadlines')
  }

  readBodyFrom(parsed: () => unknown): void {
    this.#guard?.readBodyFrom(parsed)
  }

  stepAside(): void {
    this.#guard?.stepAside()
  }

  answer(error: unknown): boolean {
    return this.#guard?.answer(error) ?? this.#left.refused
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
