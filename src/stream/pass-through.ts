import { StreamError } from '../errors/stream-error.js'
import { reportedError } from '../errors/upstream-report.js'
import { asBytes, copyBytes, isMarked, joinBytes } from '../framing/bytes.js'
import type { Follower, Framing } from '../framing/framing.js'
import type { EventSourceMessage } from '../framing/sse/parse.js'
import type { Backpressure } from '../upstream/node-chunks.js'
import { notEvents } from '../upstream/protocol-errors.js'
import { Relay, type RelayTarget } from './relay-target.js'

const maxHeldBytes = 16 * 1024

/**
 * Passes an event stream on, byte for byte, and looks at it beside the copy. Only whole events are passed on:
 * one that never ends is left out, so that an error event can follow.
 */
export class PassThroughRelay extends Relay {
  readonly #follower: Follower
  readonly #blockEnd: Uint8Array
  /** How many bytes of the upstream have been passed on, or left out for good. */
  #passed = 0
  /** The bytes after them: an event that has begun. */
  #kept: Uint8Array[] = []
  #keptBytes = 0
  /** Comments before the first event: they alone do not cause the head to be sent. */
  readonly #held: Uint8Array[] = []
  #heldBytes = 0
  /** Events, and skipped ones among them, in the bytes that are being looked at. */
  #events = 0
  #skipped = 0
  /** Where the last event ended. */
  #lastEnd = 0
  /** Nothing may be passed on that comes after this. */
  #cutAt: number | undefined

  constructor(target: RelayTarget, framing: Framing, maxEventBytes?: number) {
    super(target, framing, maxEventBytes)
    this.#blockEnd = asBytes(framing.blockEnd)
    this.#follower = framing.follow(this.#observe, {
      skips: this.transcript?.skips,
      onSkipped: this.#skip,
      maxEventBytes,
    })
  }

  push(chunk: Uint8Array | string): Backpressure {
    if (this.#isOver()) return false
    const bytes = asBytes(chunk)
    const whole = this.#follower.push(bytes)
    const all = this.#passed + this.#keptBytes + bytes.length
    // Whole events, and the comments behind them.
    const passable = whole < all && this.#follower.gap === 'comment' ? all : whole
    const written = this.#pass(bytes, passable)
    return this.#cutAt === undefined ? written : this.last(written)
  }

  /** Throws what the upstream reported, once it has been passed on; if it is the first event, instead of that. */
  finish(): Promise<void> | undefined {
    if (this.#isOver()) return undefined
    const answer = this.jsonAnswer()
    return answer ? this.#answer(answer.json) : this.#end()
  }

  /** Whether this relay, or other code, has passed the terminal event on. */
  #isOver(): boolean {
    if (this.#cutAt === undefined && this.transcript?.sawTerminal) this.#cutAt = this.#lastEnd
    return this.#cutAt !== undefined
  }

  /** The client asked for a stream: it gets one. */
  async #answer(answer: object): Promise<void> {
    if (!(await this.writeAnswer(answer))) throw notEvents('JSON')
  }

  /** An event that lacks nothing but its end is one all the same. */
  #end(): Promise<void> | undefined {
    const whole = this.#follower.end()
    if (this.#events === 0) return undefined
    if (this.#cutAt !== undefined) this.#cutAt += this.#blockEnd.length
    return this.#pass(this.#blockEnd, whole + this.#blockEnd.length)
  }

  readonly #skip = (end: number): void => {
    if (this.#cutAt !== undefined) return
    this.#events++
    this.#skipped++
    this.#lastEnd = end
  }

  readonly #observe = (event: EventSourceMessage, end: number): void => {
    if (this.#isOver()) return
    if (this.transcript?.endsNothing(event, this.received + this.#events))
      throw new StreamError('upstream_truncated')
    this.#events++
    this.#lastEnd = end
    const role = this.sink.observe(event)
    if (role === 'error') this.reported = reportedError(event.data)
    if (role === 'error' || role === 'terminal') this.#cutAt = end
  }

  /** @param whole how many bytes of the upstream are whole events, up to and with these */
  #pass(bytes: Uint8Array, whole: number): Promise<void> | undefined {
    const events = this.#events
    if (this.#skipped > 0) {
      this.target.clock.content()
      this.transcript?.skipped(this.#skipped)
    }
    this.#events = this.#skipped = 0
    this.received += events
    if (this.reported && this.received === 1 && !this.sink.committed) throw this.reported
    const ready = this.#take(bytes, this.#cutAt ?? whole)
    const { failure } = this.#follower
    if (this.received === 0 && !this.sink.committed) {
      this.#hold(ready)
      if (failure) throw failure
      return undefined
    }
    const text = this.#held.length === 0 ? ready : joinBytes([...this.#held.splice(0), ready])
    const written = ready.length > 0 ? this.sink.accept(text, events) : undefined
    if (this.reported) {
      if (this.transcript) this.transcript.reportedToClient = true
      throw this.reported
    }
    if (failure) throw failure
    return written
  }

  /** The bytes up to this offset that have not been passed on; later bytes are kept. */
  #take(bytes: Uint8Array, end: number): Uint8Array {
    if (end <= this.#passed) {
      this.#keep(bytes)
      return empty
    }
    const part = bytes.subarray(0, end - this.#passed - this.#keptBytes)
    const all = this.#keptBytes > 0 ? joinBytes([...this.#kept, part]) : part
    const mark = this.#passed === 0 && !isMarked(all, this.#follower.markBytes) ? this.#follower.markBytes : 0
    this.#passed = end
    this.#kept = []
    this.#keptBytes = 0
    // A copy: a view would hold all bytes that are being passed on.
    if (part.length < bytes.length) this.#keep(copyBytes(bytes.subarray(part.length)))
    return mark === 0 ? all : all.subarray(mark)
  }

  #keep(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.#kept.push(bytes)
    this.#keptBytes += bytes.length
  }

  /** An upstream that sends nothing else is not remembered for ever. */
  #hold(comments: Uint8Array): void {
    if (comments.length === 0 || this.#heldBytes + comments.length > maxHeldBytes) return
    this.#heldBytes += comments.length
    this.#held.push(comments)
  }
}

const empty = new Uint8Array(0)
