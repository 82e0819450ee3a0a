import { KeptEvents } from './kept-events.js'
import type {
  Followed,
  FoundStream,
  RecordedStream,
  Recorder,
  RecorderEvents,
  StoredEnd,
} from './resume-store.js'
import { forgotten } from './stored-ends.js'

/** The calls of a stream to its store. */
interface StreamKeeper {
  /** So many bytes more are kept: others may have to make room. */
  grown(bytes: number): void
  shrunk(bytes: number): void
  ended(): void
}

/** One stream in memory: its producer records it, and its followers read it. */
export class MemoryStream implements Recorder {
  readonly id: string
  ending: StoredEnd | undefined
  complete = true
  followers = 0
  readonly #about: RecordedStream
  readonly #events: RecorderEvents
  readonly #keeper: StreamKeeper
  readonly #kept: KeptEvents
  #isStopped = false
  #isForgotten = false
  /** Followers that have read all there is. */
  readonly #waiting = new Set<() => void>()

  constructor(id: string, about: RecordedStream, events: RecorderEvents, keeper: StreamKeeper) {
    this.id = id
    this.#about = about
    this.#events = events
    this.#keeper = keeper
    this.#kept = new KeptEvents(about.limits)
  }

  get found(): FoundStream {
    return { about: this.#about, first: this.#kept.first, last: this.#kept.last, end: this.ending }
  }

  append(events: string, count: number): void {
    if (this.ending || this.#isForgotten || count === 0) return
    const before = this.#kept.bytes
    this.#kept.add(events, count)
    this.#keeper.grown(this.#kept.bytes - before)
    this.#wake()
  }

  async end(how: StoredEnd): Promise<void> {
    if (this.ending) return
    this.ending = how
    this.#wake()
    this.#keeper.ended()
  }

  /** @returns whether it was still being produced */
  stop(why: string): boolean {
    if (this.ending) return false
    if (!this.#isStopped) this.#events.stop(why)
    this.#isStopped = true
    return true
  }

  /** Lets the oldest events go. @returns whether there were any */
  drop(): boolean {
    const before = this.#kept.bytes
    if (!this.#kept.drop()) return false
    this.#keeper.shrunk(before - this.#kept.bytes)
    return true
  }

  /** There is no room for it. */
  giveUp(): void {
    this.complete = false
    this.#isForgotten = true
  }

  /** It is no longer kept; followers learn that it has gone. */
  forget(): void {
    this.#isForgotten = true
    while (this.drop());
    this.#wake()
  }

  async *follow(after: number, signal: AbortSignal): AsyncGenerator<Followed, void> {
    this.followers++
    try {
      for (let had = after; !signal.aborted; ) {
        const next = this.#kept.next(had)
        if (next && 'gap' in next) had = next.gap[1]
        else if (next) had = next.last
        if (next) yield next
        else if (this.ending ?? this.#isForgotten) return yield { end: this.ending ?? forgotten }
        else await this.#untilMore(signal)
      }
    } finally {
      this.followers--
    }
  }

  async #untilMore(signal: AbortSignal): Promise<void> {
    let wake = () => {}
    const more = new Promise<void>((resolve) => {
      wake = resolve
    })
    this.#waiting.add(wake)
    signal.addEventListener('abort', wake)
    await more
    signal.removeEventListener('abort', wake)
    this.#waiting.delete(wake)
  }

  #wake(): void {
    for (const wake of this.#waiting) wake()
    this.#waiting.clear()
  }
}
