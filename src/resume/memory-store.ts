import { checkNames } from '../errors/bad-input.js'
import { systemClock, type Timer } from '../timeouts/clock.js'
import { readLimit } from './limits.js'
import { MemoryStream } from './memory-stream.js'
import type {
  Followed,
  FoundStream,
  RecordedStream,
  Recorder,
  RecorderEvents,
  ResumeStore,
} from './resume-store.js'
import { forgotten, StreamIdTaken } from './stored-ends.js'

/**
 * The options of {@link memoryStore}.
 *
 * @example
 * memoryStore({ maxStreams: 10_000, maxBytes: 512 * 1024 * 1024 })
 */
export interface MemoryStoreOptions {
  /** How many streams are kept, those that are being produced included. @defaultValue `1_000` */
  maxStreams?: number | undefined
  /** How many bytes of events are kept for all streams together. @defaultValue `64 * 1024 * 1024` */
  maxBytes?: number | undefined
}

/**
 * Keeps streams in this process: a client can rejoin its stream here, and nowhere else.
 *
 * When there is no room left, the stream that ended first goes first, then the oldest events. A gap is always reported.
 *
 * @throws TypeError that names the option and the value
 * @example
 * const resume = createResume({ store: memoryStore({ maxStreams: 10_000 }), owner: false })
 */
export function memoryStore(options: MemoryStoreOptions = {}): ResumeStore {
  checkNames(options, { owner: 'options.', names: ['maxStreams', 'maxBytes'] })
  return new MemoryStore(
    readLimit('maxStreams', options.maxStreams ?? 1_000),
    readLimit('maxBytes', options.maxBytes ?? 64 * 1024 * 1024),
  )
}

class MemoryStore implements ResumeStore {
  readonly #maxStreams: number
  readonly #maxBytes: number
  /** In the order in which they began. */
  readonly #streams = new Map<string, MemoryStream>()
  /** Those that have ended, in the order in which they did; each is forgotten in the end. */
  readonly #ended = new Map<MemoryStream, Timer | undefined>()
  #bytes = 0

  constructor(maxStreams: number, maxBytes: number) {
    this.#maxStreams = maxStreams
    this.#maxBytes = maxBytes
  }

  async record(id: string, about: RecordedStream, events: RecorderEvents): Promise<Recorder> {
    const known = this.#streams.get(id)
    if (known && !known.ending) throw new StreamIdTaken()
    if (known) this.#forget(known)
    const stream: MemoryStream = new MemoryStream(id, about, events, {
      grown: (bytes) => this.#grown(bytes),
      shrunk: (bytes) => {
        this.#bytes -= bytes
      },
      ended: () => this.#keepFor(stream, about.limits.ttlMs),
    })
    if (this.#streams.size >= this.#maxStreams) this.#forgetOldest()
    // Those that are being produced are not given up for one more.
    if (this.#streams.size < this.#maxStreams) this.#streams.set(id, stream)
    else stream.giveUp()
    return stream
  }

  async find(id: string): Promise<FoundStream | undefined> {
    return this.#streams.get(id)?.found
  }

  async *follow(id: string, after: number, signal: AbortSignal): AsyncGenerator<Followed, void> {
    const stream = this.#streams.get(id)
    if (stream) yield* stream.follow(after, signal)
    else if (!signal.aborted) yield { end: forgotten }
  }

  async stop(id: string, why = 'stopped'): Promise<boolean> {
    return this.#streams.get(id)?.stop(why) ?? false
  }

  #grown(bytes: number): void {
    this.#bytes += bytes
    while (this.#bytes > this.#maxBytes && this.#forgetOldest());
    if (this.#bytes <= this.#maxBytes) return
    for (const stream of this.#streams.values()) {
      while (this.#bytes > this.#maxBytes && stream.drop());
    }
  }

  #keepFor(stream: MemoryStream, ttlMs: number): void {
    if (this.#streams.get(stream.id) !== stream) return
    const forget = () => this.#forget(stream)
    this.#ended.set(stream, Number.isFinite(ttlMs) ? systemClock.setTimeout(forget, ttlMs) : undefined)
  }

  /** @returns whether one has ended that could go */
  #forgetOldest(): boolean {
    for (const stream of this.#ended.keys()) {
      this.#forget(stream)
      return true
    }
    return false
  }

  #forget(stream: MemoryStream): void {
    systemClock.clearTimeout(this.#ended.get(stream))
    this.#ended.delete(stream)
    this.#streams.delete(stream.id)
    stream.forget()
  }
}
