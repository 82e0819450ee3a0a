import { type ChunkReading, type ChunkTaker, eachChunk, type TakenChunk } from './each-chunk.js'
import { type EventSourceMessage, EventStreamParser } from './event-stream-parser.js'
import { JsonInstead } from './json-instead.js'
import { notEvents, openEventStream, type ReadEventStreamOptions } from './open-event-stream.js'
import type { UpstreamSource } from './upstream-source.js'

/**
 * Reads the events of an upstream's event stream.
 *
 * Give it the whole response rather than the body alone: then a status that is not 2xx, and an answer that is
 * a web page or JSON, are found before the first event.
 *
 * @throws UpstreamError when the upstream answered with an error status
 * @throws StreamError `upstream_hangup` when it breaks, `upstream_protocol` when its answer is no event stream
 *   or an event is too long; the signal's reason when that aborts
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */
export function readEventStream(
  source: UpstreamSource,
  options: ReadEventStreamOptions = {},
): AsyncGenerator<EventSourceMessage, void> {
  return new EventReader(async () => source, options)
}

export interface EventReaderOptions extends ReadEventStreamOptions {
  onEvent?: () => void
}

interface Waiting {
  resolve(result: IteratorResult<EventSourceMessage, void>): void
  reject(error: unknown): void
}

const done: IteratorResult<never, void> = { done: true, value: undefined }

/**
 * Hands out events as they are asked for, and reads on only then. Written out, since a generator around the
 * generator of its chunks costs a loop at the pace of tokens as much as the rest of it.
 */
export class EventReader implements AsyncGenerator<EventSourceMessage, void>, ChunkTaker {
  readonly #open: () => Promise<UpstreamSource>
  readonly #options: EventReaderOptions
  readonly #parser: EventStreamParser
  readonly #instead: JsonInstead
  readonly #waiting: Waiting[] = []
  #events: EventSourceMessage[] = []
  /** How many of them have been handed out. */
  #taken = 0
  #reading: ChunkReading | undefined
  #isStarted = false
  #isOver = false
  #failure: { error: unknown } | undefined

  /** @param open called with the first event that is asked for */
  constructor(open: () => Promise<UpstreamSource>, options: EventReaderOptions) {
    this.#open = open
    this.#options = options
    this.#parser = new EventStreamParser((event) => this.#hand(event), options.maxEventBytes)
    this.#instead = new JsonInstead(options.maxEventBytes)
  }

  next(): Promise<IteratorResult<EventSourceMessage, void>> {
    const value = this.#events[this.#taken]
    if (value) {
      this.#taken++
      return Promise.resolve({ done: false, value })
    }
    if (this.#failure) {
      const { error } = this.#failure
      this.#failure = undefined
      return Promise.reject(error)
    }
    if (this.#isOver) return Promise.resolve(done)
    const asked = new Promise<IteratorResult<EventSourceMessage, void>>((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
    })
    if (this.#isStarted) this.#reading?.resume()
    else this.#start()
    return asked
  }

  return(): Promise<IteratorResult<EventSourceMessage, void>> {
    this.#end()
    return Promise.resolve(done)
  }

  throw(error: unknown): Promise<never> {
    this.#end()
    return Promise.reject(error)
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end()
  }

  #start(): void {
    this.#isStarted = true
    this.#read().then(
      () => this.#over(),
      (error) => this.#over({ error }),
    )
  }

  async #read(): Promise<void> {
    const { signal, onChunk } = this.#options
    const body = await openEventStream(await this.#open(), { signal, onChunk })
    if (this.#isOver) return
    this.#reading = eachChunk(body, signal, this)
    await this.#reading.taken
    if (this.#isOver) return
    if (this.#instead.parse()) throw notEvents('JSON')
    this.#parser.end()
  }

  take(chunk: Uint8Array | string): TakenChunk {
    this.#options.onChunk?.(chunk)
    if (this.#instead.takes(chunk)) return undefined
    this.#parser.feed(chunk)
    this.#parser.check()
    return this.#waiting.length > 0 ? undefined : 'pause'
  }

  #hand(event: EventSourceMessage): void {
    if (this.#isOver) return
    this.#options.onEvent?.()
    const waiting = this.#waiting.shift()
    if (waiting) return waiting.resolve({ done: false, value: event })
    if (this.#taken === this.#events.length) {
      this.#events = []
      this.#taken = 0
    }
    this.#events.push(event)
  }

  /** What has come is still handed out before a failure is. */
  #over(failure?: { error: unknown }): void {
    if (this.#isOver) return
    this.#isOver = true
    const first = this.#waiting.shift()
    if (first && failure) first.reject(failure.error)
    else {
      first?.resolve(done)
      this.#failure = failure
    }
    for (const waiting of this.#waiting.splice(0)) waiting.resolve(done)
  }

  /** Nobody wants any more; the upstream itself is left alone. */
  #end(): void {
    this.#events = []
    this.#taken = 0
    this.#over()
    this.#failure = undefined
    this.#reading?.stop()
  }
}
