import { toStreamError } from '../errors/classify.js'
import { StreamError } from '../errors/stream-error.js'
import type { UpstreamError } from '../errors/upstream-error.js'
import { reportedError } from '../errors/upstream-report.js'
import type { Follower, Framing } from '../framing/framing.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import { defaultMaxEventBytes } from '../framing/sse/follow.js'
import type { Exchange } from '../stream/exchange.js'
import { holdsEvents, looksLikeEvents, looksLikeJson, withoutMark } from './body-start.js'
import type { WatchedResponse } from './handle.js'
import { HeldBytes } from './held-bytes.js'
import { JsonReport } from './json-report.js'
import { MadeUpEnding } from './made-up-ending.js'

/** A handler that throws is often heard of only so: its framework ends or destroys the response. */
export const endedByHandler = () =>
  new StreamError('internal', { message: 'The response was ended before the answer was complete.' })

/** The events that a handler writes, looked at on their way to the client. */
export class WrittenEvents {
  count = 0
  /** The failure of the stream, from here on. */
  failure: StreamError | undefined
  readonly #guard: WatchedResponse
  readonly #exchange: Exchange
  readonly #framing: Framing
  readonly #follower: Follower
  readonly #madeUp: MadeUpEnding
  /** Whether the body is anything but a stream that events could be put into; `undefined` until it has begun. */
  #isOpaque: boolean | undefined
  /** A document that came instead of events, which may be an upstream's report. */
  #instead: JsonReport | undefined
  /** An upstream's report of its own failure; the client has read it. */
  #reported: UpstreamError | undefined
  #looked = 0
  readonly #held = new HeldBytes()
  /** Where the bytes that may be sent end in them. */
  #endsAt: number | undefined
  #isProven = false
  /** How many bytes so far are whole events that may be sent. */
  whole = 0
  /** Whether the handler has left out the blank line after its terminal event. */
  #isUnclosed = false

  constructor(guard: WatchedResponse, exchange: Exchange, isOpaque: boolean) {
    const { settings, subject, calls } = guard
    this.#guard = guard
    this.#exchange = exchange
    if (isOpaque) this.#isOpaque = true
    this.#madeUp = new MadeUpEnding(calls)
    this.#framing = subject.framing
    this.#follower = subject.framing.follow(this.#observe, {
      skips: () => (this.#madeUp.isPossible ? undefined : exchange.transcript.skips()),
      onSkipped: this.#skipped,
      maxEventBytes: settings.maxEventBytes,
      // The guard forwards: it need not hold what it cannot look into.
      passesLarge: true,
    })
  }

  get isOpaque(): boolean {
    return this.#isOpaque === true
  }

  /** Whether it can only be cut. */
  get isForeign(): boolean {
    return this.isOpaque && !this.#reported
  }

  /** Whether nothing may be put in here. */
  get mayNotBeCut(): boolean {
    return this.isOpaque || /event|half/.test(this.#follower.gap)
  }

  /** Whether its dialect has a terminal event, which has not come. */
  get needsMore(): boolean {
    const { transcript } = this.#exchange
    return transcript.dialect.needsTerminal && !transcript.complete
  }

  /** @returns which part of the bytes may be sent: nothing follows a terminal event, or one that is wrong */
  look(given: Buffer): Buffer {
    const { timeouts } = this.#guard
    const bytes = this.#isOpaque === undefined ? withoutMark(given) : given
    this.#looked += bytes.length
    let until = this.#looked
    if (bytes.length > 0 && this.#isOpaque === undefined) {
      this.#isOpaque = !looksLikeEvents(bytes, this.#framing)
      if (this.#isOpaque) this.#instead = new JsonReport()
    }
    this.#instead?.push(bytes)
    try {
      const whole = this.#follower.push(bytes)
      this.#madeUp.passed(whole)
      if (this.#follower.failure) this.#endsAt = Math.max(whole, this.#held.sent)
      if (this.#holdsBack(this.#looked - whole)) until = Math.max(whole, this.#held.sent)
      this.whole = Math.min(whole, this.#endsAt ?? whole)
    } catch (error) {
      this.failure = toStreamError(error)
    } finally {
      // Bytes before the first event are the handler's own: a greeting, not yet the upstream.
      if (this.count === 0 && !this.#isOpaque) timeouts.wrote()
      else timeouts.touch()
    }
    this.failure ??=
      this.#follower.failure ?? this.#madeUp.failure ?? (this.#isOpaque ? undefined : this.#reported)
    return this.#held.pass(bytes, this.#endsAt ?? until)
  }

  /** The start of an event cannot be taken back if its end turns out to be made up. */
  #holdsBack(openBytes: number): boolean {
    const { maxEventBytes = defaultMaxEventBytes } = this.#guard.settings
    return this.#madeUp.isPossible && !this.#isOpaque && openBytes <= maxEventBytes
  }

  /** Bytes that were held back, of a stream that is complete nevertheless. */
  rest(): Buffer {
    return this.#held.pass(Buffer.alloc(0), this.#looked)
  }

  /**
   * Whether the last write of a handler belongs to its stream. A write without a line of events, such as a proxy's own
   * sentence, is left out: it says that the upstream has broken.
   */
  fits(chunk: unknown, encoding: string | undefined): boolean {
    if (this.mayNotBeCut || (this.#looked === 0 && looksLikeJson(chunk))) return true
    return holdsEvents(chunk, encoding, this.#framing)
  }

  /**
   * The handler says that this was all: was it?
   *
   * @param isFailure whether it responds with a status or a text of its own: then something has broken
   * @param isPiping whether it has been ended over the head of a source, which then has broken
   * @throws StreamError for a stream that is not complete
   */
  requireComplete(isFailure: boolean, isPiping: boolean): void {
    const { transcript } = this.#exchange
    const endsEarly = this.#guard.calls?.haveMore === true
    if (isFailure && !transcript.complete)
      throw endsEarly ? endedByHandler() : new StreamError('upstream_hangup')
    if (this.failure) throw this.failure
    try {
      const isOpen = this.#follower.gap === 'event'
      this.#follower.end()
      this.#isUnclosed = isOpen && transcript.sawTerminal
      if (this.#isOpaque) this.#reported = this.#instead?.error
      if (this.#isOpaque && this.#reported) throw this.#reported
      if (this.#guard.settings.acceptsTruncated || this.#isOpaque) return
      if (!this.#guard.subject.mayHaveAsked) transcript.doubtIfEmpty()
      if (transcript.dialect.needsTerminal) transcript.requireComplete(this.count)
    } catch (error) {
      const isTruncated = toStreamError(error).outcome === 'upstream_truncated'
      if (isTruncated && endsEarly) throw endedByHandler()
      const hasBroken = isPiping || this.#guard.calls?.haveBroken
      throw hasBroken && isTruncated ? new StreamError('upstream_hangup') : error
    }
  }

  /** The bytes that end an event of which some are sent. None, unless it is the terminal event or another has to follow it. */
  close(hasMore: boolean): string {
    const { blockEnd } = this.#framing
    if (this.#isOpaque) return ''
    if (this.#isUnclosed) return blockEnd
    const { gap } = this.#follower
    if (gap === 'half' && (hasMore || this.#exchange.transcript.sawTerminal)) return '\n'
    if (this.#held.hasBytes) return hasMore && this.#held.sent > this.whole ? blockEnd : ''
    if (!hasMore || gap !== 'event') return ''
    // The half event is an event from here on, and counts.
    this.#follower.push(Buffer.from(blockEnd))
    return blockEnd
  }

  readonly #observe = (event: SSEEvent, end: number): void => {
    const { transcript } = this.#exchange
    if (transcript.sawTerminal || this.#reported || this.#madeUp.failure) return
    if (this.#madeUp.observe(event, end, transcript, this.#held.sent)) {
      this.#endsAt = this.#madeUp.startsAt
      return
    }
    if (transcript.endsNothing(event, this.count)) transcript.endedEmpty = true
    this.count++
    const role = this.#exchange.observe(event)
    if (this.#isProven !== transcript.isProven) {
      this.#isProven = true
      this.#guard.retime()
    }
    if (role === 'terminal') this.#endsAt = end
    if (role !== 'error') return
    this.#reported = reportedError(event.data)
    transcript.reportedToClient = true
  }

  readonly #skipped = (): void => {
    if (!this.#reported) this.count++
    this.#exchange.transcript.skipped()
    this.#guard.timeouts.content()
  }
}
