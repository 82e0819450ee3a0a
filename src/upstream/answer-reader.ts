import { type InsteadOfEvents, JsonAnswer } from './json-answer.js'
import type { Backpressure, ChunkSink } from './node-chunks.js'

/** An observer that gets each chunk as it comes. */
export interface ChunkObserver {
  touch(chunk: Uint8Array | string): void
}

/** Takes the chunks of an upstream's event stream, and keeps those of a JSON document that comes instead. */
export abstract class AnswerReader implements ChunkSink {
  /** Until it is sure that events have come. */
  #instead: JsonAnswer | undefined
  readonly #observer: ChunkObserver

  /** @param takesLists see `JsonAnswer` */
  constructor(maxEventBytes: number | undefined, observer: ChunkObserver, takesLists = false) {
    this.#instead = new JsonAnswer(maxEventBytes, takesLists)
    this.#observer = observer
  }

  /** JSON lines have come: none of them is a document that came instead of events. */
  protected expectLines(): void {
    this.#instead = undefined
  }

  /** Takes a chunk of events. */
  abstract push(chunk: Uint8Array | string): Backpressure

  take(chunk: Uint8Array | string): Backpressure {
    this.#observer.touch(chunk)
    if (this.#instead) {
      if (this.#instead.takes(chunk)) return undefined
      if (this.#instead.isDecided) this.#instead = undefined
    }
    return this.push(chunk)
  }

  /**
   * Call when all has come.
   *
   * @returns the document, if it was JSON
   * @throws UpstreamError | StreamError as `readEventStream`
   */
  jsonAnswer(): InsteadOfEvents | undefined {
    const json = this.#instead?.parse()
    return json && { json, text: (this.#instead as JsonAnswer).text }
  }
}
