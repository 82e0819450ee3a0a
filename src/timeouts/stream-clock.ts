import pTimeout from 'p-timeout'
import { shown } from '../errors/bad-input.js'
import type { TimeoutPhase } from '../errors/outcomes.js'
import { StreamError, StreamTimeoutError } from '../errors/stream-error.js'
import { afterInput, afterStandstillMs, type Clock, systemClock, type Timer } from './clock.js'
import { readCoordinatorOptions, type TimeoutCoordinatorOptions } from './coordinator-options.js'
import { Deadlines } from './deadlines.js'
import { allowManyListeners } from './many-listeners.js'
import { type ResolvedTimeouts, resolveTimeouts, type StreamTimeouts } from './options.js'
import type { TimeoutProfileName } from './profiles.js'
import { StopSignal } from './stop-signal.js'

const never = Number.POSITIVE_INFINITY
const maxSuppressed = 8
/** A timer that is later than this has not been late by itself. */
const punctualMs = 20
/** How long to wait for what a standstill has interrupted. */
const maxGraceMs = 1_000

export type SettledListener = (reason: StreamError | undefined) => void

/**
 * The clock of one stream, as the parts of unhang have it. `TimeoutCoordinator` is the part for users.
 *
 * All deadlines share one timer.
 */
export class StreamClock implements Disposable {
  #timeouts: ResolvedTimeouts
  #beforeTimeout: (() => void) | undefined
  readonly #clock: Clock = systemClock
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
  readonly suppressed: StreamError[] = []

  constructor(
    timeouts?: StreamTimeouts | TimeoutProfileName | false,
    options: TimeoutCoordinatorOptions = {},
  ) {
    this.#timeouts = resolveTimeouts(timeouts, readCoordinatorOptions(options))
    this.#beforeTimeout = options.beforeTimeout
    this.#startedAt = this.#clock.now()
    this.#deadlines = new Deadlines(this.#timeouts, this.#startedAt)
    if (options.signal) this.#follow(options.signal)
    this.#plan()
  }

  get signal(): AbortSignal {
    return this.stopSignal.abortSignal
  }

  /** The same as `signal` for the parts of unhang, which are called first. */
  get stopSignal(): StopSignal {
    if (!this.#stopSignal) {
      this.#stopSignal = new StopSignal()
      if (this.#reason) this.#stopSignal.abort(this.#reason)
    }
    return this.#stopSignal
  }

  get timeouts(): ResolvedTimeouts {
    return this.#timeouts
  }

  get settled(): boolean {
    return this.#settled
  }

  get reason(): StreamError | undefined {
    return this.#reason
  }

  get phase(): TimeoutPhase {
    return this.#deadlines.phase
  }

  get elapsedMs(): number {
    return this.#clock.now() - this.#startedAt
  }

  get ttfbMs(): number | undefined {
    const { firstByteAt, firstWriteAt = never } = this.#deadlines
    const first = Math.min(firstByteAt, firstWriteAt)
    return first === never ? undefined : first - this.#startedAt
  }

  get maxGapMs(): number {
    return this.#deadlines.maxGapMs
  }

  onSettled(listener: (reason: StreamError | undefined) => void): void {
    if (this.#settled) return listener(this.#reason)
    // The only one as it is: a closure around it was seen to outlive the young generation.
    this.#onSettled = this.#onSettled ? both(this.#onSettled, listener) : listener
  }

  retime(timeouts: ResolvedTimeouts): void {
    this.#timeouts = timeouts
    this.#deadlines.retime(timeouts)
    this.#plan()
  }

  /** How long the client waits for its head, from the start; no retry extends it. */
  expectHeadWithin(headWithinMs: number): void {
    this.#deadlines.expectHead(this.#startedAt + headWithinMs)
    this.#plan()
  }

  attemptStarted(onConnectTimeout?: (reason: StreamTimeoutError) => void): () => void {
    this.#deadlines.attemptStarted(this.#clock.now())
    this.#onConnectTimeout = onConnectTimeout
    this.#plan()
    return () => {
      if (this.#onConnectTimeout === onConnectTimeout) this.#onConnectTimeout = undefined
    }
  }

  connecting(): () => void {
    const connection = this.#deadlines.connecting(this.#clock.now())
    this.#plan()
    return () => this.#deadlines.connected(connection)
  }

  connected(): void {
    this.#deadlines.connected()
  }

  touch(): void {
    if (this.#deadlines.bytes(this.#clock.now())) this.#plan()
  }

  wrote(): void {
    this.#deadlines.wrote(this.#clock.now())
  }

  content(): void {
    const { upstreamStallMs, firstEventMs } = this.#timeouts
    if (upstreamStallMs === never && firstEventMs === never) return
    if (this.#deadlines.content(this.#clock.now())) this.#plan()
  }

  drainStarted(taken: () => number): void {
    this.#deadlines.drainStarted(this.#clock.now(), taken)
    this.#plan()
  }

  drainEnded(): void {
    this.#deadlines.drainEnded(this.#clock.now())
    this.#plan()
  }

  finished(): void {
    this.#deadlines.finished()
  }

  run<T>(work: PromiseLike<T>): Promise<T> {
    if (typeof work === 'function') throw new TypeError(`run(work) takes a promise, got ${shown(work)}`)
    return pTimeout(Promise.resolve(work), { milliseconds: never, signal: this.signal })
  }

  settle(reason?: StreamError): boolean {
    if (this.#settled) {
      const isNew = reason !== undefined && reason !== this.#reason
      if (isNew && this.suppressed.length < maxSuppressed) this.suppressed.push(reason)
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

  [Symbol.dispose](): void {
    if (!this.#settled) this.settle(new StreamError('aborted'))
  }

  #follow(caller: AbortSignal): void {
    const aborted = () => void this.settle(new StreamError('aborted', { cause: caller.reason }))
    this.#unfollow = () => caller.removeEventListener('abort', aborted)
    if (caller.aborted) aborted()
    else {
      allowManyListeners(caller)
      caller.addEventListener('abort', aborted)
    }
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
    afterInput(this.#clock, () => this.#recheck(lateMs))
  }

  /** @param lateMs by how much the timer was late: for so long at least the process has stood still */
  #recheck(lateMs: number): void {
    if (this.#settled) return
    if (this.#beforeTimeout && this.#deadlines.next().at <= this.#clock.now()) this.#beforeTimeout()
    // Not before that: a timer for what it puts in force would take the place of the one below, again and again.
    this.#rechecking = false
    const now = this.#clock.now()
    const { phase, at } = this.#deadlines.next()
    if (at > now) return this.#plan()
    if (phase === 'clientStall' && !this.#deadlines.isClientStalled(now)) return this.#plan()
    if (lateMs > punctualMs && phase !== 'total') return this.#recheckAfterStandstill(lateMs)
    const reason = new StreamTimeoutError(phase, this.timeouts[`${phase}Ms`])
    if (phase !== 'connect' || !this.#onConnectTimeout) return void this.settle(reason)
    this.#deadlines.connected()
    this.#onConnectTimeout(reason)
    this.#plan()
  }

  /** Work of more than a turn goes on first: a handshake takes several, and compressed data a thread. */
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
