import { shown } from '../errors/bad-input.js'
import { reportedError } from '../errors/upstream-report.js'
import { asBytes } from '../framing/bytes.js'
import type { Follower, Framing } from '../framing/framing.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import type { EventSourceMessage } from '../framing/sse/parse.js'
import type { InsteadOfEvents } from '../upstream/json-answer.js'
import type { Backpressure } from '../upstream/node-chunks.js'
import { Relay, type RelayTarget } from './relay-target.js'

/**
 * Turns one event of the upstream into events for the client: one, several, or none.
 *
 * @example
 * const upper: EventMap = ({ data }) => (data === 'ping' ? null : { data: data.toUpperCase() })
 */
export type EventMap = (
  event: EventSourceMessage,
) => SSEEvent | readonly (SSEEvent | null | undefined)[] | null | undefined

/** In bytes of the upstream. */
const maxSlice = 8 * 1024

/** Passes the events of an upstream on as `map` makes them: all that come of one chunk in one write, unless it is a large one. */
export class MappedRelay extends Relay {
  readonly #map: EventMap
  readonly #isTranslated: boolean
  readonly #follower: Follower
  /** The client's events that were made of the taken ones, and how many those are. */
  #text = ''
  #events = 0

  /** @param map nothing, if only the framing is to be another one */
  constructor(target: RelayTarget, map: EventMap | undefined, framing: Framing, maxEventBytes?: number) {
    super(target, framing, maxEventBytes)
    this.#map = map ?? ((event) => event)
    this.#isTranslated = map !== undefined
    this.#follower = framing.follow((event) => this.#take(event), { maxEventBytes })
  }

  push(chunk: Uint8Array | string): Backpressure {
    return this.#pushFrom(asBytes(chunk), 0)
  }

  /** Slice by slice: the events made of a large chunk can be many times as large, and must not all wait for the client. */
  #pushFrom(chunk: Uint8Array, start: number): Backpressure {
    for (let at = start; ; ) {
      const end = at + maxSlice
      this.#feed(end < chunk.length || at > 0 ? chunk.subarray(at, end) : chunk)
      const written = this.#forward()
      if (this.transcript?.sawTerminal) return this.last(written)
      if (end >= chunk.length) return written
      if (written) return written.then(() => this.#pushFrom(chunk, end))
      at = end
    }
  }

  #feed(bytes: Uint8Array): void {
    try {
      this.#follower.push(bytes)
      if (this.#follower.failure) throw this.#follower.failure
    } catch (failure) {
      this.#fail(failure)
    }
  }

  finish(): Promise<void> | undefined {
    if (this.transcript?.sawTerminal) return undefined
    const instead = this.jsonAnswer()
    return instead ? this.#answer(instead) : this.#takeLast(() => this.#follower.end())
  }

  /**
   * An answer in the client's own format needs no translation; any other is the one event of its stream. If nothing shows
   * the client's format, a map does.
   */
  async #answer({ json, text }: InsteadOfEvents): Promise<void> {
    if (!this.#isTranslated || this.target.dialect?.answers) await this.writeAnswer(json)
    const event = { data: text, event: undefined, id: undefined }
    if (!this.transcript?.sawTerminal) await this.#takeLast(() => this.#take(event))
    this.received = Math.max(this.received, 1)
  }

  #takeLast(take: () => void): Promise<void> | undefined {
    try {
      take()
    } catch (failure) {
      this.#fail(failure)
    }
    return this.#forward()
  }

  /** Events before a failure are passed on nevertheless. */
  #fail(failure: unknown): never {
    this.#forward()
    throw failure
  }

  #forward(): Promise<void> | undefined {
    if (this.#events === 0) return undefined
    const text = this.#text
    const events = this.#events
    this.#text = ''
    this.#events = 0
    return this.sink.accept(text, events)
  }

  #take(event: EventSourceMessage): void {
    if (this.transcript?.sawTerminal) return
    this.received++
    // The event that is made of it may say nothing of that.
    this.transcript?.tally.see(event.data)
    const mapped = this.#map(event)
    if (!mapped) return
    if (Array.isArray(mapped)) for (const each of mapped) this.#add(each)
    else if (typeof mapped !== 'object') throw new TypeError(`map must return an event, got ${shown(mapped)}`)
    else if ('then' in mapped) throw new TypeError('map must not be async: loop over read() instead')
    else this.#add(mapped as SSEEvent)
  }

  #add(event: SSEEvent | null | undefined): void {
    if (!event || this.transcript?.sawTerminal) return
    const text = this.target.encode(event)
    // The client gets our own words.
    if (this.sink.observe(event) === 'error') throw reportedError(event.data)
    this.#text += text
    this.#events++
  }
}
