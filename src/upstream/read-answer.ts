import type { CollectedAnswer, StreamDialect } from '../dialects/dialect.js'
import { type DialectName, recognizeDialect, selectDialect } from '../dialects/index.js'
import { Transcript } from '../dialects/transcript.js'
import { StreamError } from '../errors/stream-error.js'
import type { UpstreamError } from '../errors/upstream-error.js'
import { reportedError } from '../errors/upstream-report.js'
import type { Follower, Framing } from '../framing/framing.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import { defaultMaxEventBytes } from '../framing/sse/follow.js'
import { AnswerReader } from './answer-reader.js'
import { eachChunk } from './chunks.js'
import { coordinatedSocketCleanup } from './cleanup.js'
import type { Backpressure } from './node-chunks.js'
import { framingOfSource, openEventStream } from './open-event-stream.js'
import { answerTooLarge, notEvents } from './protocol-errors.js'
import { checkReading, type ReadEventStreamOptions } from './reading-options.js'
import type { UpstreamSource } from './source.js'

/**
 * The options of {@link readAnswer}.
 *
 * @example
 * const answer = await readAnswer(upstream, { dialect: 'anthropic' })
 */
export interface ReadAnswerOptions extends ReadEventStreamOptions {
  /** The dialect of an upstream that streams although no stream was requested. @defaultValue by its first event */
  dialect?: StreamDialect | DialectName | undefined
}

const lingerMs = 1_000
const maxUnread = 8

/**
 * Returns one JSON answer, even from an upstream that can only stream. For requests without `"stream": true`.
 *
 * @throws UpstreamError when the upstream reported an error, by status, in JSON or by an event
 * @throws StreamError `upstream_truncated` for a stream that stops short, `upstream_hangup` and
 *   `upstream_protocol` as {@link readEventStream}; the signal's reason when that aborts
 * @throws TypeError for a source without a stream of bytes
 * @example
 * response.json(await readAnswer(await fetch(url, { method: 'POST', signal: getSignal(request) })))
 */
export async function readAnswer(source: UpstreamSource, options: ReadAnswerOptions = {}): Promise<unknown> {
  checkReading(options, ['dialect'])
  const answer = new StreamedAnswer(framingOfSource(source), options)
  try {
    await eachChunk(await openEventStream(source, options), options.signal, answer).taken
    const instead = answer.jsonAnswer()
    if (instead) return instead.json
  } finally {
    // A complete one may end by itself, and its connection be kept; one that does not end in time is cut.
    void coordinatedSocketCleanup(source, { lingerMs })
  }
  return answer.finish()
}

/** Puts the events of a stream together into one answer. */
class StreamedAnswer extends AnswerReader {
  readonly #maxBytes: number
  readonly #followed: Transcript
  readonly #follower: Follower
  #collected: CollectedAnswer | undefined
  #received = 0
  #reported: UpstreamError | undefined
  /** The events that came while the dialect was unknown. */
  readonly #unread: SSEEvent[] = []
  #unreadLength = 0

  constructor(framing: Framing, { maxEventBytes, dialect, onChunk }: ReadAnswerOptions) {
    super(maxEventBytes, { touch: (chunk) => onChunk?.(chunk) }, true)
    if (framing.name === 'ndjson') this.expectLines()
    this.#maxBytes = maxEventBytes ?? defaultMaxEventBytes
    const recognize = dialect ? undefined : recognizeDialect
    this.#followed = new Transcript(selectDialect(dialect ?? 'plain'), recognize, { framing })
    this.#follower = framing.follow((event) => this.#add(event), { maxEventBytes })
  }

  push(chunk: Uint8Array | string): Backpressure {
    this.#follower.push(chunk)
    if (this.#reported) throw this.#reported
    if (this.#follower.failure) throw this.#follower.failure
    return this.#followed.sawTerminal ? false : undefined
  }

  #add(event: SSEEvent): void {
    const followed = this.#followed
    if (followed.sawTerminal) return
    if (followed.endsNothing(event, this.#received)) throw new StreamError('upstream_truncated')
    this.#received++
    if (followed.observe(event) === 'error') this.#reported ??= reportedError(event.data)
    this.#collected ??= followed.dialect.answers?.collect()
    if (!this.#collected && this.#received <= maxUnread) {
      this.#unread.push(event)
      this.#unreadLength += String(event.data).length
    } else for (const each of [...this.#unread.splice(0), event]) collect(this.#collected, each)
    const length = this.#collected ? (this.#collected.size ?? 0) : this.#unreadLength
    if (length > this.#maxBytes) throw answerTooLarge(this.#maxBytes)
  }

  /** The answer, once all has come. */
  finish(): unknown {
    this.#follower.end()
    if (this.#reported) throw this.#reported
    this.#followed.requireComplete(this.#received)
    if (!this.#collected) throw unknownAnswer()
    return this.#collected.answer
  }
}

function collect(collected: CollectedAnswer | undefined, event: SSEEvent): void {
  try {
    collected?.add(event)
  } catch (error) {
    // JSON that is nested so deeply that walking through it comes to the end of the stack.
    throw error instanceof RangeError ? notEvents('JSON that is nested too deeply') : error
  }
}

function unknownAnswer(): StreamError {
  const message = 'The upstream responded with an event stream in an unknown format; set the option dialect.'
  return new StreamError('upstream_protocol', { message })
}
