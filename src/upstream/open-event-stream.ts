import { StreamError } from '../errors/stream-error.js'
import type { Framing } from '../framing/framing.js'
import { framingOf, framings } from '../framing/framings.js'
import { readUpstreamError } from './error-response.js'
import { notEvents } from './protocol-errors.js'
import type { ReadEventStreamOptions } from './reading-options.js'
import { openSource, type UpstreamBody, type UpstreamSource } from './source.js'

/** How the events of an upstream are framed, as far as its head says. */
export function framingOfSource(source: UpstreamSource): Framing {
  return framingOf(openSource(source).contentType) ?? framings.sse
}

/**
 * The body of an upstream's response, once it is sure that the response is an event stream.
 *
 * @throws UpstreamError | StreamError as `readEventStream`
 */
export async function openEventStream(
  source: UpstreamSource,
  options: ReadEventStreamOptions = {},
): Promise<UpstreamBody> {
  const { body, status, contentType } = openSource(source)
  if (status !== undefined && (status < 200 || status > 299)) throw await readUpstreamError(source, options)
  // An event stream under a wrong name is common (text/plain); these are something else.
  const other = /^\s*(text\/html|application\/vnd\.amazon\.eventstream)\b/i.exec(contentType ?? '')?.[1]
  if (other !== undefined) throw notEvents(other.toLowerCase())
  if (body === undefined) throw new StreamError('upstream_truncated')
  return body
}
