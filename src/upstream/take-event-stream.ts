import { openEventStream, type ReadEventStreamOptions } from './answer.js'
import type { ChunkTaker, TakenChunk } from './chunk-sink.js'
import { eachChunk } from './chunks.js'
import { JsonInstead } from './json-instead.js'
import type { UpstreamSource } from './source.js'

/** A JSON document that came instead of events. */
export interface InsteadOfEvents {
  json: object
  text: string
}

/** Takes the chunks of an upstream's event stream, and keeps those of a JSON document that comes instead. */
export abstract class EventStreamTaker implements ChunkTaker {
  /** Until it is sure that events have come. */
  #instead: JsonInstead | undefined

  constructor(maxEventBytes: number | undefined) {
    this.#instead = new JsonInstead(maxEventBytes)
  }

  /** Something has come. */
  abstract touch(chunk: Uint8Array | string): void

  /** Takes a chunk of events. */
  abstract push(chunk: Uint8Array | string): TakenChunk

  take(chunk: Uint8Array | string): TakenChunk {
    this.touch(chunk)
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
  takeInstead(): InsteadOfEvents | undefined {
    const json = this.#instead?.parse()
    return json && { json, text: (this.#instead as JsonInstead).text }
  }
}

class TakenByFunction extends EventStreamTaker {
  readonly touch: (chunk: Uint8Array | string) => void
  readonly push: (chunk: Uint8Array | string) => TakenChunk

  constructor({ maxEventBytes, onChunk }: ReadEventStreamOptions, push: TakenByFunction['push']) {
    super(maxEventBytes)
    this.touch = onChunk ?? (() => {})
    this.push = push
  }
}

/**
 * Hands the chunks of an upstream's event stream to `take`.
 *
 * @returns the document, if it was JSON that came
 * @throws UpstreamError | StreamError as `readEventStream`
 */
export async function takeEventStream(
  source: UpstreamSource,
  options: ReadEventStreamOptions,
  take: TakenByFunction['push'],
): Promise<InsteadOfEvents | undefined> {
  const taker = new TakenByFunction(options, take)
  await eachChunk(await openEventStream(source, options), options.signal, taker).taken
  return taker.takeInstead()
}
