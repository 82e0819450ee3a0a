import { type EventSourceMessage, EventStreamParser } from './event-stream-parser.js'
import type { EventMap, RelayOptions } from './relay-event-stream.js'
import type { RelaySink } from './relay-sink.js'
import { encodeEvent, type SSEEvent } from './sse-encode.js'
import { EventStreamTaker } from './take-event-stream.js'
import type { UpstreamSource } from './upstream-source.js'

/**
 * Passes the events of an upstream on as `map` makes them: all that come of one chunk in one write.
 *
 * @returns how many events came
 */
export async function translate(
  sink: RelaySink,
  source: UpstreamSource,
  map: EventMap,
  options: RelayOptions,
): Promise<number> {
  const translated = new TranslatedEvents(sink, map, options.maxEventBytes)
  const instead = await translated.takeAll(source, sink.signal)
  if (sink.ended) return translated.received
  if (!instead) {
    await translated.end()
    return translated.received
  }
  // An answer in the client's own format needs no translation; any other is the one event of its stream.
  for (const event of sink.toEvents(instead.json) ?? []) await sink.write(event)
  if (!sink.ended) await translated.takeText(instead.text)
  return Math.max(translated.received, 1)
}

class TranslatedEvents extends EventStreamTaker {
  received = 0
  readonly #sink: RelaySink
  readonly #map: EventMap
  readonly #parser: EventStreamParser
  /** What the events that were taken are for the client, and how many those are. */
  #text = ''
  #events = 0

  constructor(sink: RelaySink, map: EventMap, maxEventBytes: number | undefined) {
    super(maxEventBytes)
    this.#sink = sink
    this.#map = map
    this.#parser = new EventStreamParser((event) => this.#take(event), maxEventBytes)
  }

  touch(chunk: Uint8Array | string): void {
    this.#sink.touch(chunk)
  }

  push(chunk: Uint8Array | string): Promise<void> | undefined | false {
    try {
      this.#parser.feed(chunk)
      this.#parser.check()
    } catch (failure) {
      return this.#fail(failure)
    }
    const ready = this.#forward()
    return this.#sink.ended ? false : ready
  }

  end(): Promise<void> | undefined {
    try {
      this.#parser.end()
    } catch (failure) {
      this.#fail(failure)
    }
    return this.#forward()
  }

  /** Takes what came instead of an event. */
  takeText(data: string): Promise<void> | undefined {
    try {
      this.#take({ data, event: undefined, id: undefined })
    } catch (failure) {
      this.#fail(failure)
    }
    return this.#forward()
  }

  /** What comes before a failure is passed on all the same. */
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
    return this.#sink.forward(text, events)
  }

  #take(event: EventSourceMessage): void {
    if (this.#sink.ended) return
    this.received++
    const mapped = this.#map(event)
    if (!mapped) return
    if (Array.isArray(mapped)) for (const each of mapped) this.#add(each)
    else if ('then' in Object(mapped)) throw new TypeError('map must not be async: loop over read() instead')
    else this.#add(mapped as SSEEvent)
  }

  #isPlain(event: SSEEvent): boolean {
    if (event.id !== undefined || event.retry !== undefined || event.event !== undefined) return false
    if (!this.#sink.repeats(event)) return false
    this.#sink.repeated()
    return true
  }

  #encode(event: SSEEvent): string {
    const text = encodeEvent(event)
    this.#sink.observe(event)
    // The client is told in our own words.
    if (this.#sink.reported) throw this.#sink.reported
    return text
  }

  #add(event: SSEEvent): void {
    if (this.#sink.ended) return
    this.#text += this.#isPlain(event) ? `data: ${event.data}\n\n` : this.#encode(event)
    this.#events++
  }
}
