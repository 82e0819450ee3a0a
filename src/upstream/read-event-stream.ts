import type { Follower } from '../framing/framing.js'
import type { EventSourceMessage } from '../framing/sse/parse.js'
import { AnswerReader } from './answer-reader.js'
import { eachChunk } from './chunks.js'
import type { Backpressure, ChunkReading } from './node-chunks.js'
import { framingOfSource, openEventStream } from './open-event-stream.js'
import { notEvents } from './protocol-errors.js'
import { checkReading, type ReadEventStreamOptions } from './reading-options.js'
import { isNodeReadable, type UpstreamSource } from './source.js'

export interface EventReaderOptions extends ReadEventStreamOptions {
  onEvent?: (event: EventSourceMessage) => void
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
export class EventReader extends AnswerReader implements AsyncGenerator<EventSourceMessage, void> {
  readonly #open: () => Promise<UpstreamSource>
  readonly #options: EventReaderOptions
  #follower: Follower | undefined
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
    super(options.maxEventBytes, { touch: (chunk) => options.onChunk?.(chunk) })
    this.#open = open
    this.#options = options
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
    const asked = new Promise<IteratorResult<EventSourceMessage, void>>(this.#ask)
    if (this.#isStarted) this.#reading?.resume()
    else this.#start()
    return asked
  }

  readonly #ask = (resolve: Waiting['resolve'], reject: Waiting['reject']): void => {
    this.#waiting.push({ resolve, reject })
  }

  async return(): Promise<IteratorResult<EventSourceMessage, void>> {
    await this.#end()
    return done
  }

  async throw(error: unknown): Promise<never> {
    await this.#end()
    throw error
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end()
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
    const source = await this.#open()
    const body = await openEventStream(source, { signal, onChunk })
    const framing = framingOfSource(source)
    if (framing.name === 'ndjson') this.expectLines()
    this.#follower = framing.follow((event) => this.#hand(event), this.#options)
    // A reader that has left meanwhile leaves a Node stream that may break: that must find a listener.
    if (this.#isOver && !isNodeReadable(body)) return
    this.#reading = eachChunk(body, signal, this)
    if (this.#isOver) void this.#reading.stop()
    await this.#reading.taken
    if (this.#isOver) return
    if (this.jsonAnswer()) throw notEvents('JSON')
    this.#follower?.end()
  }

  push(chunk: Uint8Array | string): Backpressure {
    this.#follower?.push(chunk)
    if (this.#follower?.failure) throw this.#follower.failure
    return this.#waiting.length > 0 ? undefined : 'pause'
  }

  #hand(event: EventSourceMessage): void {
    if (this.#isOver) return
    this.#options.onEvent?.(event)
    const waiting = this.#waiting.shift()
    if (waiting) return waiting.resolve({ done: false, value: event })
    if (this.#taken === this.#events.length) {
      this.#events = []
      this.#taken = 0
    }
    this.#events.push(event)
  }

  /** Events that have come are still handed out before a failure is. */
  #over(failure?: { error: unknown }): void {
    if (this.#isOver) return
    this.#isOver = true
    const [first, ...others] = this.#waiting.splice(0)
    if (first && failure) first.reject(failure.error)
    else {
      first?.resolve(done)
      this.#failure = failure
    }
    for (const other of others) other.resolve(done)
  }

  /** No reader wants more; the upstream itself is left alone. */
  #end(): Promise<unknown> | undefined {
    this.#events = []
    this.#taken = 0
    this.#over()
    this.#failure = undefined
    return this.#reading?.stop()
  }
}

/**
 * Returns the events of an upstream's event stream, to loop over.
 *
 * Pass the whole response rather than its body. Then a status that is not 2xx, a web page and a JSON answer are
 * found before the first event.
 *
 * @throws UpstreamError when the upstream responded with an error status
 * @throws StreamError `upstream_hangup` when the upstream breaks, `upstream_protocol` when its response is not an
 *   event stream or an event is too long; the signal's reason when that aborts
 * @throws TypeError for a source without a stream of bytes
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 * @example
 * for await (const { event, data } of readEventStream(await fetch(url))) console.log(event, data)
 */
export function readEventStream(
  source: UpstreamSource,
  options: ReadEventStreamOptions = {},
): AsyncGenerator<EventSourceMessage, void> {
  checkReading(options)
  return new EventReader(async () => source, options)
}
