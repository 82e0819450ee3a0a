import { checkFunction, checkNames, checkSignal, shown } from '../errors/bad-input.js'
import { toStreamError } from '../errors/classify.js'
import { StreamError } from '../errors/stream-error.js'
import { UpstreamError } from '../errors/upstream-error.js'
import { isErrorReport, reportedError, sentenceOf } from '../errors/upstream-report.js'
import { byteOrderMark, decodeByteText, toByteText } from '../framing/bytes.js'
import { defaultMaxEventBytes } from '../framing/sse/follow.js'
import type { AbortSignalLike } from '../timeouts/stop-signal.js'
import { eachChunk } from './chunks.js'
import type { Backpressure, ChunkSink } from './node-chunks.js'
import {
  isNodeReadable,
  openSource,
  type UpstreamAnswer,
  type UpstreamBody,
  type UpstreamSource,
} from './source.js'

/**
 * The options of {@link readEventStream}.
 *
 * @example
 * const events = readEventStream(upstream, { maxEventBytes: 64 * 1024, signal: AbortSignal.timeout(60_000) })
 */
export interface ReadEventStreamOptions {
  /** The maximum size of one event, in bytes. @defaultValue `8 * 1024 * 1024` */
  maxEventBytes?: number | undefined
  /** Ends the reading with its reason. Not set: the upstream is read to its end. */
  signal?: AbortSignalLike | undefined
  /** Called for every chunk as it arrives, before its events. Not set: nothing is called. */
  onChunk?: ((chunk: Uint8Array | string) => void) | undefined
}

/**
 * @param more names that the caller reads itself
 * @throws TypeError that names the option and the value
 */
export function checkReading(options: ReadEventStreamOptions, more: readonly string[] = []): void {
  checkNames(options, { owner: 'options.', names: ['maxEventBytes', 'signal', 'onChunk', ...more] })
  checkMaxEventBytes('maxEventBytes', options.maxEventBytes)
  checkSignal('signal', options.signal)
  checkFunction('onChunk', options.onChunk)
}

/** @throws TypeError for anything but a number above 0; `undefined` means not set */
export function checkMaxEventBytes(what: string, value: unknown): void {
  if (value === undefined || (typeof value === 'number' && value > 0)) return
  throw new TypeError(`${what} must be a number above 0, got ${shown(value)}`)
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

const maxDetail = 64 * 1024

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

export function answerTooLarge(maxBytes: number): StreamError {
  return new StreamError('upstream_protocol', {
    code: 'upstream_answer_too_large',
    message: `The upstream sent an answer of more than ${maxBytes} bytes.`,
  })
}

/** A JSON document that came instead of an event stream: told by its first character, and kept. */
export class JsonAnswer {
  /** As bytes, one character for each. */
  #bytes = ''
  #isJson: boolean | undefined
  readonly #maxBytes: number

  constructor(maxBytes = defaultMaxEventBytes) {
    this.#maxBytes = maxBytes
  }

  /**
   * Whether a chunk is part of such a document: no line of an event stream begins with a brace or bracket.
   *
   * @throws StreamError `upstream_protocol` for a document that is too long
   */
  takes(chunk: Uint8Array | string): boolean {
    if (this.#isJson === false) return false
    const text = this.#bytes + toByteText(chunk)
    this.#isJson ??= isJsonStart(text)
    // Of what is no JSON, or nothing yet, only half a byte order mark has to be remembered.
    if (this.#isJson) this.#bytes = text
    else this.#bytes = this.#isJson === undefined && byteOrderMark.startsWith(text) ? text : ''
    if (!this.#isJson) return false
    if (this.#bytes.length <= this.#maxBytes) return true
    throw answerTooLarge(this.#maxBytes)
  }

  /** Whether it is known by now what has come. */
  get isDecided(): boolean {
    return this.#isJson !== undefined
  }

  get text(): string {
    return decodeByteText(withoutMark(this.#bytes))
  }

  /**
   * The document, once it is whole; `undefined` if an event stream has come.
   *
   * @throws UpstreamError for one that reports an error, with the status it names
   * @throws StreamError `upstream_protocol` for what is no JSON after all
   */
  parse(): object | undefined {
    if (!this.#isJson) return undefined
    const json = parse(this.text)
    if (!json) throw notEvents('an unreadable JSON document')
    // Some send a list of what would have been events.
    const report = Array.isArray(json) ? Object(json[0]) : json
    if (isErrorReport(report)) throw reportedError(report)
    return json
  }
}

function withoutMark(text: string): string {
  return text.startsWith(byteOrderMark) ? text.slice(byteOrderMark.length) : text
}

/** @returns `undefined` for nothing but space */
function isJsonStart(text: string): boolean | undefined {
  const [first] = byteOrderMark.startsWith(text) ? [] : withoutMark(text).trimStart()
  return first === undefined ? undefined : first === '{' || first === '['
}

function parse(text: string): object | undefined {
  try {
    return JSON.parse(text) as object
  } catch {
    return undefined
  }
}

/** A JSON document that came instead of events. */
export interface InsteadOfEvents {
  json: object
  text: string
}

/** Who is told of each chunk as it comes. */
export interface ChunkObserver {
  touch(chunk: Uint8Array | string): void
}

/** Takes the chunks of an upstream's event stream, and keeps those of a JSON document that comes instead. */
export abstract class AnswerReader implements ChunkSink {
  /** Until it is sure that events have come. */
  #instead: JsonAnswer | undefined
  readonly #observer: ChunkObserver

  constructor(maxEventBytes: number | undefined, observer: ChunkObserver) {
    this.#instead = new JsonAnswer(maxEventBytes)
    this.#observer = observer
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

class FunctionReader extends AnswerReader {
  readonly push: (chunk: Uint8Array | string) => Backpressure

  constructor(options: ReadEventStreamOptions, push: FunctionReader['push']) {
    super(options.maxEventBytes, { touch: (chunk) => options.onChunk?.(chunk) })
    this.push = push
  }
}

/**
 * Hands the chunks of an upstream's event stream to `take`.
 *
 * @returns the document, if it was JSON that came
 * @throws UpstreamError | StreamError as `readEventStream`
 */
export async function readEvents(
  source: UpstreamSource,
  options: ReadEventStreamOptions,
  take: FunctionReader['push'],
): Promise<InsteadOfEvents | undefined> {
  const sink = new FunctionReader(options, take)
  await eachChunk(await openEventStream(source, options), options.signal, sink).taken
  return sink.jsonAnswer()
}
