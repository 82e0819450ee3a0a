// Imported: as a global, Buffer is an accessor, and this runs for each event.
import { Buffer } from 'node:buffer'
import { FollowedBytes } from '../framing/sse/follow.js'
import { EventSplitter, endOfEvent } from '../framing/sse/framing.js'
import { defaultMaxEventBytes, EventStreamParser } from '../framing/sse/parse.js'
import { notEvents } from '../upstream/answer.js'
import type { Backpressure } from '../upstream/node-chunks.js'
import type { RelaySink } from './relay-target.js'
import { RelayTaker } from './relay-target.js'

const mostHeldBytes = 16 * 1024

/**
 * Passes an event stream on, byte for byte, and looks at it beside the copy. Only whole events are passed on:
 * one that never ends is left out, so that an error event can follow.
 */
export class PassThroughRelay extends RelayTaker {
  /** Nothing may follow: the terminal event has been passed on. */
  ended = false
  readonly #splitter = new EventSplitter()
  readonly #parser: EventStreamParser
  readonly #followed: FollowedBytes
  /** Comments before the first event: they alone are no reason to send the head. */
  #held: Buffer[] = []
  #heldBytes = 0
  /** Events in the bytes that are being looked at. */
  #events = 0
  #isOver = false

  constructor(sink: RelaySink, maxEventBytes = defaultMaxEventBytes) {
    super(sink, maxEventBytes)
    this.#parser = new EventStreamParser((event) => {
      if (this.#isOver) return
      this.ended = this.#isOver = sink.sawTerminal
      if (this.ended) return
      this.#events++
      const role = sink.observe(event)
      this.ended = role === 'terminal'
      this.#isOver = this.ended || role === 'error'
    }, maxEventBytes)
    this.#followed = new FollowedBytes(this.#parser, sink, maxEventBytes)
  }

  push(chunk: Uint8Array | string): Backpressure {
    if (Buffer.isBuffer(chunk) && this.#isOneMore(chunk)) {
      this.received++
      this.sink.repeated()
      return this.sink.forward(chunk, 1)
    }
    const whole = this.#splitter.push(chunk)
    const written = whole.length > 0 ? this.#follow(whole) : undefined
    if (this.#splitter.openBytes > 0) this.#parser.checkLength(this.#splitter.openBytes)
    return this.ended ? this.last(written) : written
  }

  /** As most chunks are at the pace of tokens. */
  #isOneMore(chunk: Uint8Array): boolean {
    return this.#splitter.openBytes === 0 && !this.sink.sawTerminal && this.#followed.isOneMore(chunk)
  }

  /** Throws what the upstream reported, once it has been passed on; if it is the first event, instead of that. */
  finish(): Promise<void> | undefined {
    if (this.ended) return undefined
    const instead = this.jsonAnswer()
    return instead ? this.#answer(instead.json) : this.#end()
  }

  /** The client asked for a stream: it gets one. */
  async #answer(answer: object): Promise<void> {
    const events = this.sink.toEvents(answer)
    if (!events) throw notEvents('JSON')
    for (const event of events) await this.sink.write(event)
    this.received = events.length
  }

  /** An event that lacks nothing but its blank line is one all the same. */
  #end(): Promise<void> | undefined {
    const { rest } = this.#splitter
    this.#events = 0
    this.#parser.feed(rest)
    this.#parser.end()
    return this.#events > 0 ? this.#pass(this.#splitter.closed()) : undefined
  }

  #follow(whole: Buffer): Promise<void> | undefined {
    this.#events = 0
    if (this.sink.sawTerminal) {
      this.ended = this.#isOver = true
      return undefined
    }
    const repeated = this.#followed.feed(whole)
    if (repeated > 0) {
      this.#events += repeated
      this.sink.repeated()
      // The common case, in which nothing can be wrong.
      if (this.#events === repeated && this.#followed.sawAll) {
        this.received += repeated
        return this.sink.forward(whole, repeated)
      }
    }
    return this.#pass(whole)
  }

  #pass(whole: Buffer): Promise<void> | undefined {
    const { committed, reported } = this.sink
    this.received += this.#events
    if (reported && !committed && this.received === 1) throw reported
    const tooLong = this.#parser.failure
    const cut = this.#isOver || tooLong !== undefined
    const bytes = cut ? whole.subarray(0, endOfEvent(whole, this.#events)) : whole
    if (this.received === 0 && !committed) {
      this.#hold(bytes)
      if (tooLong) throw tooLong
      return undefined
    }
    const written = bytes.length > 0 ? this.sink.forward(this.#unheld(bytes), this.#events) : undefined
    if (reported) {
      this.sink.reportedToClient()
      throw reported
    }
    if (tooLong) throw tooLong
    return written
  }

  #unheld(bytes: Buffer): Buffer {
    if (this.#held.length === 0) return bytes
    const all = Buffer.concat([...this.#held, bytes])
    this.#held = []
    return all
  }

  /** An upstream that sends nothing else is not remembered for ever. */
  #hold(comments: Buffer): void {
    if (this.#heldBytes + comments.length > mostHeldBytes) return
    this.#heldBytes += comments.length
    this.#held.push(comments)
  }
}
