import type { TimeoutPhase } from '../errors/outcomes.js'
import type { TimeoutCoordinator } from './timeout-coordinator.js'

/**
 * A handler's view of its deadlines.
 *
 * @example
 * const deadlines = stream.deadlines
 * console.log(`waiting for ${deadlines.phase} after ${deadlines.elapsedMs} ms`)
 */
export interface StreamDeadlines {
  /** Aborts when the client leaves or a deadline passes; the same as the `signal` of the stream. */
  readonly signal: AbortSignal
  /** The deadline that the stream is waiting for now. */
  readonly phase: TimeoutPhase
  /** How long the stream has been running, in milliseconds. */
  readonly elapsedMs: number
  /** Reports upstream activity that unhang cannot see: it counts as bytes that have come. */
  touch(): void
}

/** The deadlines of one stream, in the hands of its handler. */
export class HandlerDeadlines implements StreamDeadlines {
  readonly #clock: TimeoutCoordinator

  constructor(clock: TimeoutCoordinator) {
    this.#clock = clock
  }

  get signal(): AbortSignal {
    return this.#clock.signal
  }

  get phase(): TimeoutPhase {
    return this.#clock.phase
  }

  get elapsedMs(): number {
    return this.#clock.elapsedMs
  }

  touch(): void {
    this.#clock.touch()
  }

  /** For `watchConnect`; see `TimeoutCoordinator.connecting`. */
  connecting(): () => void {
    return this.#clock.connecting()
  }
}
