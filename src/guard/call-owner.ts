import type { AsyncLocalStorage } from 'node:async_hooks'

/** A call that a handler made of an upstream, whichever client it made it with. */
export interface UpstreamCall {
  /** Whether more of its answer is to come. */
  readonly isRunning: boolean
  /** Whether the upstream has gone away, although nobody may have heard of it yet. */
  readonly hasBroken: boolean
  /** Lets the upstream go. Nobody hears of an error but who reads it. */
  cancel(reason: Error): void
  /** Stops reading from its socket. @returns whether it could be stopped */
  pause(): boolean
  /** Goes on reading. */
  resume(): void
}

/** How an adopted call ended: with its whole answer, because the upstream went away, or by the app's own hand. */
export type CallEnding = 'done' | 'broken' | 'aborted'

/** A guarded response that has not ended. */
export interface OpenResponse {
  /** Whether it has neither ended nor closed. */
  readonly isOpen: boolean
  /** Whether it reads an upstream of its own: one that does not may live on somebody else's. */
  readonly isReading: boolean
}

/** The response that a handler's calls are made for. */
export interface CallOwner extends OpenResponse {
  /** Whether the code that runs for it has written to other responses as well. */
  readonly isShared: boolean
  /** The code that runs for it has written to another response: from here on nothing is done to its calls. */
  share(): void
  /** Whether a compressed stream would be of no use: nothing can be put into one. */
  readonly wantsPlainText: boolean
  /** What the client of the response accepts, which a proxy copies. */
  readonly acceptEncoding: string | undefined
  /** A call is being made. */
  begun(call: UpstreamCall): void
  /**
   * The head of its answer has come.
   *
   * @param head whether the status is one of 200 to 299, and whether a stream of events or lines follows
   * @returns whether to go on looking at it
   */
  answered(call: UpstreamCall, head: { isGood: boolean; isStream: boolean }): boolean
  /** It has ended, or never had an answer. */
  ended(call: UpstreamCall, how: CallEnding): void
  /** What kept it from letting its calls go may be over. */
  reconsider(): void
}

/** Who owns what, for all copies of unhang in the process. */
export class CallOwners {
  readonly #storage: AsyncLocalStorage<CallOwner>
  readonly #open = new Set<OpenResponse>()
  readonly #waiting = new Set<CallOwner>()

  constructor(storage: AsyncLocalStorage<CallOwner>) {
    this.#storage = storage
  }

  /** Whose code is running now. */
  get current(): CallOwner | undefined {
    return this.#storage.getStore()
  }

  /** Runs `work` as a part of what is done for `owner`. */
  enter<Result>(owner: CallOwner, work: () => Result): Result {
    return this.#storage.getStore() === owner ? work() : this.#storage.run(owner, work)
  }

  /** Runs `work` for nobody. */
  leave<Result>(work: () => Result): Result {
    return this.#storage.exit(work)
  }

  opened(response: OpenResponse): void {
    this.#open.add(response)
  }

  closed(response: OpenResponse): void {
    if (this.#open.delete(response)) this.changed()
  }

  /** Whether somebody may be reading what another response has opened. */
  get haveGuests(): boolean {
    for (const { isReading, isOpen } of this.#open) if (isOpen && !isReading) return true
    return false
  }

  /** Asks `owner` again once there are no guests. */
  wait(owner: CallOwner): void {
    this.#waiting.add(owner)
  }

  /** Nothing of it is left to be cancelled. */
  stopWaiting(owner: CallOwner): void {
    this.#waiting.delete(owner)
  }

  /** A response has begun to read, or is over. */
  changed(): void {
    if (this.#waiting.size === 0 || this.haveGuests) return
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const owner of waiting) owner.reconsider()
  }
}

const streamTypes =
  /^\s*(?:text\/event-stream|application\/(?:x-)?(?:ndjson|jsonl|jsonlines|json-lines|json-seq)|application\/stream\+json)\s*(?:;|$)/i

/** What a head says of the answer that follows. */
export function headOf(status: number | undefined, type: string | undefined) {
  const isGood = status !== undefined && status >= 200 && status <= 299
  return { isGood, isStream: isGood && type !== undefined && streamTypes.test(type) }
}
