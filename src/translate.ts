import { type EventSourceMessage, EventStreamParser } from './event-stream-parser.js'
import type { RelaySink } from './pass-through.js'
import type { EventMap, RelayOptions } from './relay-event-stream.js'
import { encodeEvent, type SSEEvent } from './sse-encode.js'
import { takeEventStream } from './take-event-stream.js'
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
  const instead = await takeEventStream(source, { ...options, signal: sink.signal }, translated.push)
  if (sink.ended) return translated.received
  if (!instead) {
    await translated.end()
    return translated.received
  }
  // An answer in the client's own format needs no translation; any other is the one event of its stream.
  for (const event of sink.toEvents(instead.json) ?? []) await sink.write(event)
  if (!sink.ended) await translated.take(instead.text)
  return Math.max(translated.received, 1)
}

class TranslatedEvents {
  received = 0
  readonly #sink: RelaySink
  readonly #map: EventMap
  readonly #parser: EventStreamParser
  /** What the events that were taken are for the client, and how many those are. */
  #text = ''
  #events = 0

  constructor(sink: RelaySink, map: EventMap, maxEventBytes: number | undefined) {
    this.#sink = sink
    this.#map = map
    this.#parser = new EventStreamParser((event) => this.#take(event), maxEventBytes)
  }

  readonly push = (chunk: Uint8Array | string): Promise<void> | undefined | false => {
    const ready = this.#forwarding(() => {
      this.#parser.feed(chunk)
      this.#parser.check()
    })
    return this.#sink.ended ? false : ready
  }

  end(): Promise<void> | undefined {
    return this.#forwarding(() => this.#parser.end())
  }

  /** Takes an event that was none. */
  take(data: string): Promise<void> | undefined {
    return this.#forwarding(() => this.#take({ data, event: undefined, id: undefined }))
  }

  /** What comes before a failure is passed on all the same. */
  #forwarding(take: () => void): Promise<void> | undefined {
    try {
      take()
    } catch (failure) {
      this.#forward()
      throw failure
    }
    return this.#forward()
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
