import type { AsyncLocalStorage } from 'node:async_hooks'
import { framingOf } from '../framing/framings.js'

/** A call that a handler made of an upstream, with any client library. */
export interface UpstreamCall {
  /** Whether more of its response is to come. */
  readonly isRunning: boolean
  /** How it has ended, even before its owner knows; `undefined` as long as that is not known. */
  readonly ending: CallEnding | undefined
  /** Closes the connection to the upstream. Only the code that reads the response gets an error. */
  cancel(reason: Error): void
  /** Stops reading from its socket. @returns whether it could be stopped */
  pause(): boolean
  /** Goes on reading. */
  resume(): void
}

/** How an adopted call ended: with its whole response, because the upstream went away, or by the app's own hand. */
export type CallEnding = 'done' | 'broken' | 'aborted'

/** A guarded response that has not ended. */
export interface OpenResponse {
  /** Whether it has neither ended nor closed. */
  readonly isOpen: boolean
  /** Whether it reads an upstream of its own. A response that does not may be reading another response's upstream. */
  readonly isReading: boolean
}

/** The response that a handler's calls are made for. */
export interface CallOwner extends OpenResponse {
  /** Whether the code that runs for it has written to other responses as well. */
  readonly isShared: boolean
  /** The code that runs for it has written to another response: from here on nothing is done to its calls. */
  markShared(): void
  /**
   * The `Accept-Encoding` of a client that wants a stream. A proxy copies it, but its upstream should not compress: an error
   * event cannot be put into a compressed stream.
   */
  readonly unwantedEncoding: string | undefined
  /** A call is being made. */
  begun(call: UpstreamCall): void
  /**
   * The head of its response has come.
   *
   * @param head whether the status is one of 200 to 299, and whether a stream of events or lines follows
   * @returns whether to go on looking at it
   */
  responded(call: UpstreamCall, head: { isGood: boolean; isStream: boolean }): boolean
  /** It has ended, or never had a response. */
  ended(call: UpstreamCall, how: CallEnding): void
  /** Cancels its calls, or waits until no other response may be reading them. */
  cancelUnlessRead(): void
}

/** The owners of all calls, for all copies of unhang in the process. */
export class CallOwners {
  readonly #storage: AsyncLocalStorage<CallOwner>
  readonly #open: Set<OpenResponse>
  readonly #waiting = new Set<CallOwner>()

  constructor(storage: AsyncLocalStorage<CallOwner>, open: Set<OpenResponse>) {
    this.#storage = storage
    this.#open = open
  }

  /** The owner whose code is running now. */
  get current(): CallOwner | undefined {
    return this.#storage.getStore()
  }

  /** Runs `work` as a part of the owner's work. */
  enter<Result>(owner: CallOwner, work: () => Result): Result {
    return this.#storage.getStore() === owner ? work() : this.#storage.run(owner, work)
  }

  /** Runs `work` without an owner. */
  leave<Result>(work: () => Result): Result {
    return this.#storage.exit(work)
  }

  /** Whether an open response may be reading another one's upstream, since it reads no upstream that it opened itself. */
  get mayHaveReaders(): boolean {
    for (const { isReading, isOpen } of this.#open) if (isOpen && !isReading) return true
    return false
  }

  /** Lets `owner` cancel its calls once no other response may be reading them. */
  cancelLater(owner: CallOwner): void {
    this.#waiting.add(owner)
  }

  /** `owner` has no calls left to cancel. */
  stopWaiting(owner: CallOwner): void {
    this.#waiting.delete(owner)
  }

  /** A response has begun to read an upstream of its own, or has ended. */
  readersChanged(): void {
    if (this.#waiting.size === 0 || this.mayHaveReaders) return
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const owner of waiting) owner.cancelUnlessRead()
  }
}

/** The kind of response that a head announces. */
export function headOf(status: number | undefined, type: string | undefined) {
  const isGood = status !== undefined && status >= 200 && status <= 299
  return { isGood, isStream: isGood && framingOf(type) !== undefined }
}
