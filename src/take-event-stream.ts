import { eachChunk, type TakeChunk } from './each-chunk.js'
import { JsonInstead } from './json-instead.js'
import { openEventStream, type ReadEventStreamOptions } from './open-event-stream.js'
import type { UpstreamSource } from './upstream-source.js'

/** A JSON document that came instead of events. */
export interface InsteadOfEvents {
  json: object
  text: string
}

/**
 * Hands the chunks of an upstream's event stream to `take`, as `eachChunk` does.
 *
 * @returns the document, if it was JSON that came
 * @throws UpstreamError | StreamError as `readEventStream`
 */
export async function takeEventStream(
  source: UpstreamSource,
  options: ReadEventStreamOptions,
  take: TakeChunk,
): Promise<InsteadOfEvents | undefined> {
  const { signal, onChunk, maxEventBytes } = options
  const instead = new JsonInstead(maxEventBytes)
  const body = await openEventStream(source, { signal, onChunk })
  const reading = eachChunk(body, signal, (chunk) => {
    onChunk?.(chunk)
    return instead.takes(chunk) ? undefined : take(chunk)
  })
  await reading.taken
  const json = instead.parse()
  return json && { json, text: instead.text }
}
