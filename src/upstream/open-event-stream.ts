import { StreamError } from '../errors/stream-error.js'
import { readErrorResponse } from './error-response.js'
import { notEvents } from './protocol-errors.js'
import type { ReadEventStreamOptions } from './reading-options.js'
import { openSource, type UpstreamBody, type UpstreamSource } from './source.js'

/**
 * The body of an upstream's answer, once it is sure that the answer is an event stream.
 *
 * @throws UpstreamError | StreamError as `readEventStream`
 */
export async function openEventStream(
  source: UpstreamSource,
  options: ReadEventStreamOptions = {},
): Promise<UpstreamBody> {
  const response = openSource(source)
  const { body, status, contentType } = response
  if (status !== undefined && (status < 200 || status > 299)) throw await readErrorResponse(response, options)
  // An event stream under a wrong name is common (text/plain); a page is something else.
  if (/^\s*text\/html\b/i.test(contentType ?? '')) throw notEvents('text/html')
  if (body === undefined) throw new StreamError('upstream_truncated')
  return body
}
