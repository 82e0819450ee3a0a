import { createParser, type EventSourceMessage } from 'eventsource-parser'
import { StreamError, UpstreamError } from './errors.js'
import { readChunks } from './read-chunks.js'
import { sentenceOf } from './reported-error.js'
import { openSource, type UpstreamAnswer, type UpstreamBody, type UpstreamSource } from './upstream-source.js'

export type { EventSourceMessage }

export interface ReadEventStreamOptions {
  /** The longest event that is accepted. Default 8 MiB. */
  maxEventBytes?: number | undefined
  /** Ends the reading with its reason. */
  signal?: AbortSignal | undefined
  /** Called for every chunk as it comes, before its events. */
  onChunk?: ((chunk: Uint8Array | string) => void) | undefined
}

const defaultMaxEventBytes = 8 * 1024 * 1024

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
  const parser = new EventStreamParser((event) => events.push(event), options.maxEventBytes)
  const body = await openEventStream(source, options)
  for await (const chunk of readChunks(body, options.signal)) {
    options.onChunk?.(chunk)
    parser.feed(chunk)
    yield* events.splice(0)
    parser.check()
  }
  parser.end()
  yield* events
}

/** Parses chunks of bytes, cut anywhere, into events. */
export class EventStreamParser {
  readonly #decoder = new TextDecoder()
  readonly #feed: (text: string) => void
  readonly #maxEventBytes: number
  #endedInCR = false
  #ended = false
  #endedInLine = true
  #tooLong = false

  constructor(onEvent: (event: EventSourceMessage) => void, maxEventBytes = defaultMaxEventBytes) {
    if (!(maxEventBytes > 0)) {
      throw new TypeError(`relay.maxEventBytes must be a number above 0, got ${String(maxEventBytes)}`)
    }
    this.#maxEventBytes = maxEventBytes
    const parser = createParser({
      maxBufferSize: maxEventBytes,
      onEvent: (event) => {
        // What comes after an event that is missing would be read as what came instead of it.
        if (this.#tooLong || isLonger(event.data, maxEventBytes)) this.#tooLong = true
        else if (!this.#ended || this.#isWhole(event.data)) onEvent(event)
      },
      onError: ({ type }) => {
        if (type === 'max-buffer-size-exceeded') this.#tooLong = true
      },
    })
    this.#feed = parser.feed
  }

  feed(chunk: Uint8Array | string): void {
    if (this.#tooLong) return
    const text = typeof chunk === 'string' ? chunk : this.#decoder.decode(chunk, { stream: true })
    if (text !== '') this.#feed(this.#withLFs(text))
  }

  /** Call after each feed, when its events have been taken care of. */
  check(): void {
    if (this.#tooLong) throw this.failure
  }

  /** Call for an event that is kept elsewhere until it is whole. */
  checkLength(bytes: number): void {
    if (bytes > this.#maxEventBytes) this.#tooLong = true
    this.check()
  }

  /** What is wrong with the event after the last one that was handed out. */
  get failure(): StreamError | undefined {
    if (!this.#tooLong) return undefined
    return new StreamError('upstream_protocol', {
      code: 'upstream_event_too_large',
      message: `The upstream sent an event of more than ${this.#maxEventBytes} bytes.`,
    })
  }

  /**
   * The upstream has ended. The specification drops a last event that lacks its blank line; upstreams that
   * forget it after their `[DONE]` are too common for that, so an event that is evidently whole is kept.
   */
  end(): void {
    if (this.#tooLong) return
    const rest = this.#decoder.decode()
    if (rest !== '') this.#feed(this.#withLFs(rest))
    this.#ended = true
    this.#feed('\n\n')
    this.check()
  }

  /** The parser waits with a CR for what follows it; an event that ends in CR must not wait with it. */
  #withLFs(text: string): string {
    const afterCR = this.#endedInCR && text.startsWith('\n')
    const lines = afterCR ? text.slice(1) : text
    this.#endedInCR = text.endsWith('\r')
    if (lines === '') return ''
    this.#endedInLine = lines.endsWith('\n') || this.#endedInCR
    return lines.includes('\r') ? lines.replace(/\r\n?/g, '\n') : lines
  }

  #isWhole(data: string): boolean {
    return this.#endedInLine || data === '[DONE]' || isJson(data)
  }
}

/** A character of a string is three bytes at most. */
function isLonger(text: string, bytes: number): boolean {
  return text.length * 3 > bytes && Buffer.byteLength(text) > bytes
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/**
 * The body of an upstream's answer, once it is sure that the answer is an event stream.
 *
 * @throws UpstreamError | StreamError as {@link readEventStream}
 */
export async function openEventStream(
  source: UpstreamSource,
  options: ReadEventStreamOptions = {},
): Promise<UpstreamBody> {
  const answer = openSource(source)
  const { body, status, contentType } = answer
  if (status !== undefined && (status < 200 || status > 299)) throw await readAnswerError(answer, options)
  // An event stream under a wrong name is common (text/plain); a page or a JSON document is something else.
  const other = contentType?.match(/^\s*(text\/html|application\/json|application\/problem\+json)\b/i)
  if (other) {
    throw new StreamError('upstream_protocol', {
      message: `The upstream answered with ${other[1]?.toLowerCase()} instead of an event stream.`,
    })
  }
  if (body === undefined) throw new StreamError('upstream_truncated')
  return body
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

const longestDetail = 64 * 1024

async function readAnswerError(
  { body, status, retryAfter }: UpstreamAnswer,
  { signal, onChunk }: ReadEventStreamOptions,
): Promise<UpstreamError> {
  // The head of an error is all that was waited for: from here on silence is what counts.
  onChunk?.('')
  const decoder = new TextDecoder()
  let text = ''
  try {
    for await (const chunk of body ? readChunks(body, signal) : []) {
      onChunk?.(chunk)
      text += typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true })
      if (text.length > longestDetail) break
    }
  } catch (error) {
    // The status is worth more than the rest of its explanation.
    if (signal?.aborted) throw error
  }
  return new UpstreamError({ status, retryAfter, detail: sentenceOf(text.slice(0, longestDetail)) })
}
