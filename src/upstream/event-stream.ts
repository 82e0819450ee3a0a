import type { EventSourceMessage } from '../framing/sse/parse.js'
import type { ReadEventStreamOptions } from './answer.js'
import { EventReader } from './read-event-stream.js'
import type { UpstreamSource } from './source.js'

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
