import { toStreamError } from '../errors/classify.js'
import { StreamError, UpstreamError } from '../errors/stream-error.js'
import { sentenceOf } from '../errors/upstream-report.js'
import { decodeByteText, toByteText } from '../framing/sse/byte-text.js'
import type { AbortSignalLike } from '../timeouts/abort-signal-like.js'
import { eachChunk } from './chunks.js'
import {
  isNodeReadable,
  openSource,
  type UpstreamAnswer,
  type UpstreamBody,
  type UpstreamSource,
} from './source.js'

/** The options of {@link readEventStream}. */
export interface ReadEventStreamOptions {
  /** The longest event that is accepted. Default 8 MiB. */
  maxEventBytes?: number | undefined
  /** Ends the reading with its reason. */
  signal?: AbortSignalLike | undefined
  /** Called for every chunk as it comes, before its events. */
  onChunk?: ((chunk: Uint8Array | string) => void) | undefined
}

/**
 * The body of an upstream's answer, once it is sure that the answer is an event stream.
 *
 * @throws UpstreamError | StreamError as `readEventStream`
 */
export async function openEventStream(
  source: UpstreamSource,
  options: ReadEventStreamOptions = {},
): Promise<UpstreamBody> {
  const answer = openSource(source)
  const { body, status, contentType } = answer
  if (status !== undefined && (status < 200 || status > 299)) throw await readAnswerError(answer, options)
  // An event stream under a wrong name is common (text/plain); a page is something else.
  if (/^\s*text\/html\b/i.test(contentType ?? '')) throw notEvents('text/html')
  if (body === undefined) throw new StreamError('upstream_truncated')
  return body
}

/** What to tell of an answer of another kind. */
export function notEvents(kind: string): StreamError {
  return new StreamError('upstream_protocol', {
    message: `The upstream answered with ${kind} instead of an event stream.`,
  })
}

/**
 * Reads an answer with an error status: its status and `Retry-After` are passed on to the client; what it says
 * is kept in `detail`, for logs.
 */
export function readUpstreamError(
  source: UpstreamSource,
  options: ReadEventStreamOptions = {},
): Promise<UpstreamError> {
  return readAnswerError(openSource(source), options)
}

/**
 * What a call failed with. A client that throws for a status (axios, got) leaves the answer's body unread: it is
 * read here, or else its connection would be held for ever.
 */
export async function readFailure(
  error: unknown,
  options: ReadEventStreamOptions = {},
): Promise<StreamError> {
  const { response } = Object(error) as { response?: UpstreamSource }
  const { data, body } = Object(response) as { data?: unknown; body?: unknown }
  const isUnread = isNodeReadable(data) || isNodeReadable(body)
  return response && isUnread ? await readUpstreamError(response, options) : toStreamError(error)
}

const longestDetail = 64 * 1024

async function readAnswerError(
  { body, status, retryAfter, retryAfterMs, shouldRetry }: UpstreamAnswer,
  { signal, onChunk }: ReadEventStreamOptions,
): Promise<UpstreamError> {
  // The head of an error is all that was waited for: from here on silence is what counts.
  onChunk?.('')
  let text = ''
  const take = (chunk: Uint8Array | string) => {
    onChunk?.(chunk)
    text += toByteText(chunk)
    return text.length > longestDetail ? false : undefined
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
    detail: sentenceOf(decodeByteText(text.slice(0, longestDetail))),
  })
}
