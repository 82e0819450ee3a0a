import type { ServerResponse } from 'node:http'
import { toStreamError } from '../errors/classify.js'
import type { Guarded } from '../registry.js'
import type { GuardedStream } from '../stream/guarded-stream.js'
import { HandlerDeadlines, type StreamDeadlines } from '../timeouts/stream-deadlines.js'
import { TimeoutCoordinator } from '../timeouts/timeout-coordinator.js'
import type { AdoptedCalls } from './adopted-calls.js'
import type { OriginalMethods } from './intercept.js'
import type { RecordedResponse } from './recorded-response.js'
import type { GuardOptions, GuardSettings, RequestedStream } from './request.js'
import type { ResponseHead } from './response-head.js'
import { callOwners } from './upstream-calls.js'

/**
 * `waiting` for the head; `streaming` an event stream; `passing` any other response; `closed` once the ending has been decided.
 */
export type GuardState = 'waiting' | 'streaming' | 'passing' | 'closed'

/** The guard in front of a response, while it lasts. */
export interface WatchedResponse {
  readonly state: GuardState
  readonly timeouts: TimeoutCoordinator
  readonly subject: RequestedStream
  readonly settings: GuardSettings
  readonly own: OriginalMethods
  readonly response: ServerResponse
  readonly head: ResponseHead
  /** Whether it has neither ended nor closed. */
  readonly isOpen: boolean
  /** Not set: the stream is not recorded. */
  readonly recorded: RecordedResponse | undefined
  /** Whether what writes can be made to wait: a source that is piped. */
  readonly isPaced: boolean
  readonly calls: AdoptedCalls | undefined
  /** Whether the client has all of a stream. */
  readonly sawTerminal: boolean
  fail(error: unknown): void
  pass(): void
  /** The response is written the unhang way. */
  stepAside(): void
  /** A guard inside this one: its settings count more. */
  refine(options: GuardOptions): void
  /** More is known by now of what its deadlines depend on. */
  retime(): void
  /** An ending has been decided: from here on what the handler writes is refused. */
  closed(): void
  /** All of it has left this process. */
  over(): void
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
 * The registry's view of a guard. A caller must find it also when the response is over. But a value in a WeakMap
 * outlives the young generation, and the guard itself would take the whole exchange along.
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
    return this.#guard ? this.#guard.state === 'closed' : this.#left.refused
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

  /** An older name. */
  get timeouts(): never {
    throw new TypeError('there is no stream.timeouts: write stream.deadlines')
  }

  get options(): GuardOptions | undefined {
    return this.#guard?.settings.given
  }

  refine(options: GuardOptions): void {
    this.#guard?.refine(options)
  }

  readBodyFrom(parsed: () => unknown, prepared?: () => object): void {
    this.#guard?.subject.readBodyFrom(parsed, prepared)
  }

  stepAside(): void {
    this.#guard?.stepAside()
  }

  enter<Result>(work: () => Result): Result {
    const calls = this.#guard?.calls
    return calls ? callOwners().enter(calls, work) : work()
  }

  respond(error: unknown): boolean {
    const guard = this.#guard
    if (!guard) return this.#left.refused
    const { state, subject, settings, response } = guard
    // A page or a text is not a response to a client that asked for a stream; to any other the framework's is.
    const isAsked = state === 'waiting' && subject.isWanted && !response.headersSent
    const isOurs = state === 'streaming' || state === 'closed'
    if (isOurs || (isAsked && settings.reportsErrors)) guard.fail(error)
    return this.refused
  }

  respondAtLast(error: unknown): void {
    const guard = this.#guard
    if (!guard) return
    if (guard.state !== 'passing') guard.fail(error)
    else if (!guard.response.writableEnded) guard.own.destroy(toStreamError(error))
  }
}

function completed(): TimeoutCoordinator {
  const timeouts = new TimeoutCoordinator(false)
  timeouts.settle()
  return timeouts
}
