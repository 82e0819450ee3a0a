import { type EventSourceMessage, EventStreamParser } from './event-stream-parser.js'
import { JsonInstead } from './json-instead.js'
import { notEvents, openEventStream, type ReadEventStreamOptions } from './open-event-stream.js'
import { readChunks } from './read-chunks.js'
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
export async function* readEventStream(
  source: UpstreamSource,
  options: ReadEventStreamOptions = {},
): AsyncGenerator<EventSourceMessage, void> {
  const events: EventSourceMessage[] = []
  const { maxEventBytes, signal, onChunk } = options
  const parser = new EventStreamParser((event) => events.push(event), maxEventBytes)
  const instead = new JsonInstead(maxEventBytes)
  const body = await openEventStream(source, options)
  for await (const chunk of readChunks(body, signal)) {
    onChunk?.(chunk)
    if (instead.takes(chunk)) continue
    parser.feed(chunk)
    yield* events.splice(0)
    parser.check()
  }
  if (instead.parse()) throw notEvents('JSON')
  parser.end()
  yield* events
}
