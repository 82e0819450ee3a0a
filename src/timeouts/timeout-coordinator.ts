import pTimeout from 'p-timeout'
import { shown } from '../errors/bad-input.js'
import { StreamError, StreamTimeoutError, type TimeoutPhase } from '../errors/stream-error.js'
import { afterStandstillMs, type Clock, systemClock, type Timer } from './clock.js'
import { readCoordinatorOptions, type TimeoutCoordinatorOptions } from './coordinator-options.js'
import { Deadlines } from './deadlines.js'
import { type ResolvedTimeouts, resolveTimeouts, type StreamTimeouts } from './options.js'
import type { TimeoutProfileName } from './profiles.js'
import { StopSignal } from './stop-signal.js'

export type { TimeoutCoordinatorOptions }

const never = Number.POSITIVE_INFINITY
const maxSuppressed = 8
/** A timer that is later than this has not been late by itself. */
const punctualMs = 5
/** How long to wait for what a standstill has interrupted. */
const maxGraceMs = 1_000

type SettledListener = (reason: StreamError | undefined) => void

/**
 * Keeps the time of one stream: every deadline, the one outcome, and the one signal that ends it.
 *
 * All deadlines share one timer. A deadline that seems to have passed is checked again after one full turn of the
 * event loop. Data that arrived while the process was busy still counts. After a standstill of the process the deadline is
 * checked once more, some milliseconds later.
 *
 * @param timeouts the deadlines, a profile by its name, or `false` for none at all
 * @throws TypeError | RangeError that names the timeout and its value
 * @example
 * const timeouts = new TimeoutCoordinator('advanced')
 * const response = await timeouts.run(fetch(url, { signal: timeouts.signal }))
 * timeouts.settle()
 */
export class TimeoutCoordinator implements Disposable {
  #timeouts: ResolvedTimeouts
  #beforeTimeout: (() => void) | undefined
  readonly #clock: Clock
  readonly #startedAt: number
  readonly #deadlines: Deadlines
  #unfollow: (() => void) | undefined
  #stopSignal: StopSignal | undefined
  #timer: Timer | undefined
  #timerAt = never
  #rechecking = false
  #settled = false
  #reason: StreamError | undefined
  #onConnectTimeout: ((reason: StreamTimeoutError) => void) | undefined
  #onSettled: SettledListener | undefined
  #suppressed: StreamError[] | undefined

  constructor(
    timeouts?: StreamTimeouts | TimeoutProfileName | false,
    options: TimeoutCoordinatorOptions = {},
  ) {
    this.#timeouts = resolveTimeouts(timeouts, readCoordinatorOptions(options))
    this.#beforeTimeout = options.beforeTimeout
    this.#clock = options.clock ?? systemClock
    this.#startedAt = this.#clock.now()
    this.#deadlines = new Deadlines(this.#timeouts, this.#startedAt, options.headWithinMs)
    if (options.signal) this.#follow(options.signal)
    this.#plan()
  }

  /**
   * Aborts when the stream must stop; its reason is a {@link StreamError}. A stream that completes never aborts it.
   */
  get signal(): AbortSignal {
    return this.stopSignal.abortSignal
  }

  /** The same for the parts of unhang, which are called first. */
  get stopSignal(): StopSignal {
    if (!this.#stopSignal) {
      this.#stopSignal = new StopSignal()
      if (this.#reason) this.#stopSignal.abort(this.#reason)
    }
    return this.#stopSignal
  }

  /** The timeouts in force. */
  get timeouts(): ResolvedTimeouts {
    return this.#timeouts
  }

  /** Whether the outcome is fixed. */
  get settled(): boolean {
    return this.#settled
  }

  /** Why the stream stopped; `undefined` while it runs and when it completed. */
  get reason(): StreamError | undefined {
    return this.#reason
  }

  /** Failures after the outcome was fixed; at most eight. */
  get suppressed(): readonly StreamError[] {
    return this.#suppressed ?? []
  }

  /** The deadline that the stream is waiting for now. */
  get phase(): TimeoutPhase {
    return this.#deadlines.phase
  }

  /** The time since the start, in milliseconds. */
  get elapsedMs(): number {
    return this.#clock.now() - this.#startedAt
  }

  /** From the start to the first upstream activity or event, in milliseconds; `undefined` before it. */
  get ttfbMs(): number | undefined {
    const { firstByteAt, firstWriteAt = never } = this.#deadlines
    const first = Math.min(firstByteAt, firstWriteAt)
    return first === never ? undefined : first - this.#startedAt
  }

  /** The longest time between two touches, in milliseconds. */
  get maxGapMs(): number {
    return this.#deadlines.maxGapMs
  }

  /** Calls `listener` once, in the turn in which the outcome is fixed. Listeners are called in the order they were given. */
  onSettled(listener: (reason: StreamError | undefined) => void): void {
    if (this.#settled) return listener(this.#reason)
    // The only one as it is: a closure around it was seen to outlive the young generation.
    this.#onSettled = this.#onSettled ? both(this.#onSettled, listener) : listener
  }

  /** Puts other timeouts in force, counted from the same start, also after `finished()`. */
  retime(timeouts: ResolvedTimeouts): void {
    this.#timeouts = timeouts
    this.#deadlines.retime(timeouts)
    this.#plan()
  }

  /**
   * Records that the upstream is called, perhaps again: it gets its whole time to begin.
   *
   * @param onConnectTimeout called, instead of ending the stream, when no connection is made in time
   * @returns a function that ends the attempt: from then on a connection that is too late ends the stream
   */
  attemptStarted(onConnectTimeout?: (reason: StreamTimeoutError) => void): () => void {
    this.#deadlines.attemptStarted(this.#clock.now())
    this.#onConnectTimeout = onConnectTimeout
    this.#plan()
    return () => {
      if (this.#onConnectTimeout === onConnectTimeout) this.#onConnectTimeout = undefined
    }
  }

  /**
   * Records that a connection to the upstream is being made. Leave it out where you cannot see that (plain `fetch`).
   *
   * @returns a function for when this connection stands, or was given up; a later one is not affected
   */
  connecting(): () => void {
    const connection = this.#deadlines.connecting(this.#clock.now())
    this.#plan()
    return () => this.#deadlines.connected(connection)
  }

  /** Records that the connection stands, including TLS. */
  connected(): void {
    this.#deadlines.connected()
  }

  /** Records upstream activity: bytes have come. */
  touch(): void {
    if (this.#deadlines.bytes(this.#clock.now())) this.#plan()
  }

  /** Records an event of the handler. Restarts `firstByteMs` while no upstream data has arrived. */
  wrote(): void {
    this.#deadlines.wrote(this.#clock.now())
  }

  /** Records that an event with content has come. */
  content(): void {
    const { upstreamStallMs, firstEventMs } = this.#timeouts
    if (upstreamStallMs === never && firstEventMs === never) return
    if (this.#deadlines.content(this.#clock.now())) this.#plan()
  }

  /**
   * Records that the client must catch up: the silence of the upstream does not count meanwhile.
   *
   * @param taken how many bytes the client has taken so far; a client that takes more is slow, not stalled
   */
  drainStarted(taken: () => number): void {
    this.#deadlines.drainStarted(this.#clock.now(), taken)
    this.#plan()
  }

  /** Records that the client has caught up. */
  drainEnded(): void {
    this.#deadlines.drainEnded(this.#clock.now())
    this.#plan()
  }

  /** Records that the answer is complete: from here on only the client can be late. */
  finished(): void {
    this.#deadlines.finished()
  }

  /** Waits for `work`, or rejects with the signal's reason as soon as the stream must stop. */
  run<T>(work: PromiseLike<T>): Promise<T> {
    if (typeof work === 'function') throw new TypeError(`run(work) takes a promise, got ${shown(work)}`)
    return pTimeout(Promise.resolve(work), { milliseconds: never, signal: this.signal })
  }

  /**
   * Fixes the outcome, once: completed, or stopped for `reason`. Everything is released before this returns.
   *
   * @returns whether this call was the one that fixed it
   */
  settle(reason?: StreamError): boolean {
    if (this.#settled) {
      if (reason && reason !== this.#reason) this.#suppress(reason)
      return false
    }
    this.#settled = true
    this.#reason = reason
    this.#deadlines.ended(this.#clock.now())
    this.#clock.clearTimeout(this.#timer)
    this.#timer = undefined
    this.#unfollow?.()
    const report = () => this.#onSettled?.(reason)
    if (reason && this.#stopSignal) this.#stopSignal.abort(reason, report)
    else report()
    // It may be kept for its outcome, and must not keep the rest of the stream for that.
    this.#onSettled = this.#beforeTimeout = undefined
    return true
  }

  #suppress(late: StreamError): void {
    this.#suppressed ??= []
    if (this.#suppressed.length < maxSuppressed) this.#suppressed.push(late)
  }

  /** Stops a stream that has no outcome yet as `aborted`. */
  [Symbol.dispose](): void {
    if (!this.#settled) this.settle(new StreamError('aborted'))
  }

  #follow(caller: AbortSignal): void {
    const aborted = () => void this.settle(new StreamError('aborted', { cause: caller.reason }))
    this.#unfollow = () => caller.removeEventListener('abort', aborted)
    if (caller.aborted) aborted()
    else caller.addEventListener('abort', aborted)
  }

  /** Arms the timer if a deadline now comes before what it is armed for; a later one is found when it fires. */
  #plan(): void {
    if (this.#settled || this.#rechecking) return
    const { at } = this.#deadlines.next()
    if (at >= this.#timerAt) return
    this.#clock.clearTimeout(this.#timer)
    this.#timerAt = at
    this.#timer = this.#clock.setTimeout(this.#timerFired, at - this.#clock.now())
  }

  readonly #timerFired = (): void => {
    const lateMs = this.#clock.now() - this.#timerAt
    this.#timerAt = never
    if (this.#deadlines.next().at > this.#clock.now()) return this.#plan()
    this.#rechecking = true
    // Two hops: timers run before the poll for input, so only after the second has all of it been seen.
    this.#clock.setImmediate(() => this.#clock.setImmediate(() => this.#recheck(lateMs)))
  }

  /** @param lateMs by how much the timer was late: for so long at least the process has stood still */
  #recheck(lateMs: number): void {
    this.#rechecking = false
    if (this.#settled) return
    if (this.#beforeTimeout && this.#deadlines.next().at <= this.#clock.now()) this.#beforeTimeout()
    const now = this.#clock.now()
    const { phase, at } = this.#deadlines.next()
    if (at > now) return this.#plan()
    if (phase === 'clientStall' && this.#deadlines.clientMoved(now)) return this.#plan()
    if (lateMs > punctualMs && phase !== 'total') return this.#recheckAfterStandstill(lateMs)
    const reason = new StreamTimeoutError(phase, this.timeouts[`${phase}Ms`])
    if (phase !== 'connect' || !this.#onConnectTimeout) return void this.settle(reason)
    this.#deadlines.connected()
    this.#onConnectTimeout(reason)
    this.#plan()
  }

  /** What takes more than a turn goes on first: a handshake takes several, and what is compressed a thread. */
  #recheckAfterStandstill(lateMs: number): void {
    this.#rechecking = true
    const graceMs = Math.min(Math.max(lateMs, afterStandstillMs), maxGraceMs)
    this.#timer = this.#clock.setTimeout(() => this.#recheck(0), graceMs)
  }
}

function both(first: SettledListener, second: SettledListener): SettledListener {
  return (reason) => {
    first(reason)
    second(reason)
  }
}
