import type { TimeoutPhase } from '../errors/outcomes.js'
import type { ResolvedTimeouts } from './options.js'

const never = Number.POSITIVE_INFINITY

/** Looks at a client in `clientStallMs`: bytes that it read after one look count from the next. */
export const looksPerStall = 10

/** Where two deadlines fall on the same instant, the one named first is reported. */
const byPrecedence: readonly TimeoutPhase[] = [
  'connect',
  'firstEvent',
  'firstByte',
  'upstreamStall',
  'inactivity',
  'clientStall',
  'total',
]

/**
 * The deadlines of one stream, as far as it has come: which there are now, and which is next. Knows the time
 * only by its calls. All instants in milliseconds; `Infinity` is "not yet" or "not at all".
 */
export class Deadlines {
  readonly #startedAt: number
  #attemptAt: number
  /** Comments and events of the handler's own do not delay the first piece of the answer. */
  #askedAt: number
  /** When the client stops waiting for its head. */
  #headBy = never
  #connectingSince = never
  #connection = 0
  #lastByteAt = never
  #lastContentAt = never
  /** When the client was last seen to move. */
  #drainingSince = never
  #lookedAt = never
  #drainProgress: (() => number) | undefined
  #drainTaken = 0
  #finished = false
  #timeouts: ResolvedTimeouts
  firstByteAt = never
  firstWriteAt: number | undefined
  maxGapMs = 0

  constructor(timeouts: ResolvedTimeouts, startedAt: number) {
    this.#timeouts = timeouts
    this.#startedAt = startedAt
    this.#attemptAt = this.#askedAt = startedAt
  }

  get phase(): TimeoutPhase {
    if (this.#drainingSince !== never) return 'clientStall'
    if (this.#finished) return 'total'
    if (this.firstByteAt !== never) return 'inactivity'
    return this.#connectingSince === never ? 'firstByte' : 'connect'
  }

  /** An event was written. Before the upstream has said anything it shows that the handler is at work. */
  wrote(now: number): void {
    this.firstWriteAt ??= now
    if (this.firstByteAt === never) this.#attemptAt = now
    // The head is out: the client waits for it no more.
    this.#headBy = never
  }

  expectHead(at: number): void {
    this.#headBy = at
  }

  attemptStarted(now: number): void {
    this.#attemptAt = this.#askedAt = now
    this.#connectingSince = never
    this.firstByteAt = this.#lastByteAt = never
  }

  retime(timeouts: ResolvedTimeouts): void {
    this.#timeouts = timeouts
    this.#finished = false
  }

  /** @returns the number of the connection that is being made */
  connecting(now: number): number {
    this.#connectingSince = now
    return ++this.#connection
  }

  /** @param connection which one; by default whichever there is */
  connected(connection = this.#connection): void {
    if (connection === this.#connection) this.#connectingSince = never
  }

  /** @returns whether these were the first bytes */
  bytes(now: number): boolean {
    if (this.firstByteAt === never) {
      this.firstByteAt = this.#lastByteAt = now
      this.#connectingSince = never
      return true
    }
    const gapMs = now - this.#lastByteAt
    if (gapMs > this.maxGapMs) this.maxGapMs = gapMs
    this.#lastByteAt = now
    return false
  }

  /** @returns whether this was the first of it */
  content(now: number): boolean {
    const isFirst = this.#lastContentAt === never
    this.#lastContentAt = now
    return isFirst
  }

  drainStarted(now: number, taken: () => number): void {
    this.#drainingSince = this.#lookedAt = now
    this.#drainProgress = taken
    this.#drainTaken = taken()
  }

  /** The upstream was left alone meanwhile: its silence counts from now. */
  drainEnded(now: number): void {
    this.#drainingSince = never
    this.#drainProgress = undefined
    if (this.#lastByteAt !== never) this.#lastByteAt = now
    if (this.#lastContentAt !== never) this.#lastContentAt = now
  }

  /** Looks whether the client read something since the last look; its time then starts again. */
  isClientStalled(now: number): boolean {
    const taken = this.#drainProgress?.() ?? 0
    this.#lookedAt = now
    if (taken > this.#drainTaken) {
      this.#drainTaken = taken
      this.#drainingSince = now
    }
    return this.#drainingSince + this.#timeouts.clientStallMs <= now
  }

  /** The silence at the end counts too: often it is the longest. */
  ended(now: number): void {
    const waits = this.#lastByteAt !== never && this.#drainingSince === never && !this.#finished
    if (waits) this.maxGapMs = Math.max(this.maxGapMs, now - this.#lastByteAt)
  }

  finished(): void {
    this.#finished = true
    this.#connectingSince = never
  }

  next(): { phase: TimeoutPhase; at: number } {
    let next: TimeoutPhase = 'total'
    let at = never
    for (const phase of byPrecedence) {
      const deadline = this.#deadline(phase)
      if (deadline < at) {
        at = deadline
        next = phase
      }
    }
    return { phase: next, at }
  }

  #deadline(phase: TimeoutPhase): number {
    const timeouts = this.#timeouts
    if (phase === 'clientStall') return this.#nextLook()
    if (this.#finished) return never
    const draining = this.#drainingSince !== never
    switch (phase) {
      case 'connect':
        return this.#connectingSince + timeouts.connectMs
      case 'firstByte':
        if (this.firstByteAt !== never) return never
        return Math.min(this.#attemptAt + timeouts.firstByteMs, this.#headBy)
      case 'firstEvent':
        return this.#lastContentAt === never ? this.#askedAt + timeouts.firstEventMs : never
      case 'inactivity':
        return draining ? never : this.#lastByteAt + timeouts.inactivityMs
      case 'upstreamStall':
        return draining ? never : this.#lastContentAt + timeouts.upstreamStallMs
      case 'total':
        return this.#startedAt + timeouts.totalMs
    }
  }

  #nextLook(): number {
    const { clientStallMs } = this.#timeouts
    if (this.#drainingSince === never) return never
    return Math.min(this.#drainingSince + clientStallMs, this.#lookedAt + clientStallMs / looksPerStall)
  }
}
