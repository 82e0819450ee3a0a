import { propertyOf } from '../errors/cause-chain.js'
import { toStreamError } from '../errors/classify.js'
import type { StreamError } from '../errors/stream-error.js'
import { UpstreamError } from '../errors/upstream-error.js'
import { sentenceOf } from '../errors/upstream-report.js'
import { decodeByteText, toByteText } from '../framing/bytes.js'
import { eachChunk } from './chunks.js'
import type { ReadEventStreamOptions } from './reading-options.js'
import { isNodeReadable, openSource, type UpstreamSource } from './source.js'

/**
 * The failure of a call. A client that throws for a status (axios, got) leaves the response's body unread: it is
 * read here, or else its connection would be held for ever.
 */
export async function readFailure(
  error: unknown,
  options: ReadEventStreamOptions = {},
): Promise<StreamError> {
  const response = propertyOf(error, 'response')
  const isUnread = ['data', 'body'].some((name) => isNodeReadable(propertyOf(response, name)))
  return isUnread ? await readUpstreamError(response as UpstreamSource, options) : toStreamError(error)
}

const maxDetail = 64 * 1024

/**
 * Reads a response with an error status. Its status and `Retry-After` are passed on to the client; its message
 * is kept in `detail`, for logs.
 *
 * @throws the reason of the signal, if that aborts
 */
export async function readUpstreamError(
  source: UpstreamSource,
  { signal, onChunk }: ReadEventStreamOptions = {},
): Promise<UpstreamError> {
  const { body, status, retryAfter, retryAfterMs, shouldRetry } = openSource(source)
  // So far the stream waited for the head of an error: from here on silence counts.
  onChunk?.('')
  let text = ''
  const take = (chunk: Uint8Array | string) => {
    onChunk?.(chunk)
    text += toByteText(chunk)
    return text.length > maxDetail ? false : undefined
  }
  try {
    if (body) await eachChunk(body, signal, { take }).taken
  } catch (error) {
    // The status is worth more than the rest of its explanation.
    if (signal?.aborted) throw error
  }
  return new UpstreamError({
    status,
    retryAfter,
    retryAfterMs,
    shouldRetry,
    detail: sentenceOf(decodeByteText(text.slice(0, maxDetail))),
  })
}
