import type { TimeoutPhase } from '../errors/outcomes.js'
import type { StreamError, StreamTimeoutError } from '../errors/stream-error.js'
import type { TimeoutCoordinatorOptions } from './coordinator-options.js'
import type { ResolvedTimeouts, StreamTimeouts } from './options.js'
import type { TimeoutProfileName } from './profiles.js'
import { StreamClock } from './stream-clock.js'

export type { TimeoutCoordinatorOptions }

/**
 * Keeps the time of one stream: every deadline, the one outcome, and the one signal that ends it.
 *
 * All deadlines share one timer. A deadline that seems to have passed is checked again after one full turn of the
 * event loop. Data that arrived while the process was busy still counts. After a standstill of the process the deadline is
 * checked once more, some milliseconds later.
 *
 * @example
 * const timeouts = new TimeoutCoordinator('advanced')
 * const response = await timeouts.run(fetch(url, { signal: timeouts.signal }))
 * timeouts.settle()
 */
export interface TimeoutCoordinator extends Disposable {
  /**
   * Aborts when the stream must stop; its reason is a {@link StreamError}. A stream that completes never aborts it.
   */
  readonly signal: AbortSignal
  /** The timeouts in force. */
  readonly timeouts: ResolvedTimeouts
  /** Whether the outcome is fixed. */
  readonly settled: boolean
  /** Why the stream stopped; `undefined` while it runs and when it completed. */
  readonly reason: StreamError | undefined
  /** Failures after the outcome was fixed; at most eight. */
  readonly suppressed: readonly StreamError[]
  /** The deadline that the stream is waiting for now. */
  readonly phase: TimeoutPhase
  /** The time since the start, in milliseconds. */
  readonly elapsedMs: number
  /** From the start to the first upstream activity or event, in milliseconds; `undefined` before it. */
  readonly ttfbMs: number | undefined
  /** The longest time between two touches, in milliseconds. */
  readonly maxGapMs: number
  /** Calls `listener` once, in the turn in which the outcome is fixed. Listeners are called in the order they were given. */
  onSettled(listener: (reason: StreamError | undefined) => void): void
  /** Puts other timeouts in force, counted from the same start, also after `finished()`. */
  retime(timeouts: ResolvedTimeouts): void
  /**
   * Records that the upstream is called, perhaps again: it gets its whole time to begin.
   *
   * @param onConnectTimeout called, instead of ending the stream, when no connection is made in time
   * @returns a function that ends the attempt: from then on a connection that is too late ends the stream
   */
  attemptStarted(onConnectTimeout?: (reason: StreamTimeoutError) => void): () => void
  /**
   * Records that a connection to the upstream is being made. Leave it out where you cannot see that (plain `fetch`).
   *
   * @returns a function for when this connection stands, or was given up; a later one is not affected
   */
  connecting(): () => void
  /** Records that the connection stands, including TLS. */
  connected(): void
  /** Records upstream activity: bytes have come. */
  touch(): void
  /** Records an event of the handler. Restarts `firstByteMs` while no upstream data has arrived. */
  wrote(): void
  /** Records that an event with content has come. */
  content(): void
  /**
   * Records that the client must catch up: the silence of the upstream does not count meanwhile.
   *
   * @param taken how many bytes the client has taken so far; a client that takes more is slow, not stalled
   */
  drainStarted(taken: () => number): void
  /** Records that the client has caught up. */
  drainEnded(): void
  /** Records that the answer is complete: from here on only the client can be late. */
  finished(): void
  /** Waits for `work`, or rejects with the signal's reason as soon as the stream must stop. */
  run<T>(work: PromiseLike<T>): Promise<T>
  /**
   * Fixes the outcome, once: completed, or stopped for `reason`. Everything is released before this returns.
   *
   * @returns whether this call was the one that fixed it
   */
  settle(reason?: StreamError): boolean
  /** Stops a stream that has no outcome yet as `aborted`. */
  [Symbol.dispose](): void
}

interface TimeoutCoordinatorConstructor {
  /**
   * @param timeouts the deadlines, a profile by its name, or `false` for none at all
   * @throws TypeError | RangeError that names the timeout and its value
   */
  new (
    timeouts?: StreamTimeouts | TimeoutProfileName | false,
    options?: TimeoutCoordinatorOptions,
  ): TimeoutCoordinator
  readonly prototype: TimeoutCoordinator
}

/** Starts the clock of one stream. */
export const TimeoutCoordinator: TimeoutCoordinatorConstructor = StreamClock
