import type { CollectedAnswer, StreamDialect } from '../dialects/dialect.js'
import { type DialectName, recognizeDialect, selectDialect } from '../dialects/index.js'
import { Transcript } from '../dialects/transcript.js'
import { StreamError } from '../errors/stream-error.js'
import type { UpstreamError } from '../errors/upstream-error.js'
import { reportedError } from '../errors/upstream-report.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import { defaultMaxEventBytes } from '../framing/sse/follow.js'
import { readEvents } from './answer-reader.js'
import { coordinatedSocketCleanup } from './cleanup.js'
import type { InsteadOfEvents } from './json-answer.js'
import { framingOfSource } from './open-event-stream.js'
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
  const { maxEventBytes = defaultMaxEventBytes, dialect: choice } = options
  const framing = framingOfSource(source)
  const followed = new Transcript(selectDialect(choice ?? 'plain'), choice ? undefined : recognizeDialect, {
    framing,
  })
  let collected: CollectedAnswer | undefined
  let received = 0
  let reported: UpstreamError | undefined
  /** The events that came while the dialect was unknown. */
  const unread: SSEEvent[] = []
  let unreadLength = 0
  const add = (event: SSEEvent) => {
    if (followed.sawTerminal) return
    if (followed.endsNothing(event, received)) throw new StreamError('upstream_truncated')
    received++
    if (followed.observe(event) === 'error') reported ??= reportedError(event.data)
    collected ??= followed.dialect.answers?.collect()
    if (!collected && received <= maxUnread) {
      unread.push(event)
      unreadLength += String(event.data).length
    } else for (const each of [...unread.splice(0), event]) collect(collected, each)
    const length = collected ? (collected.size ?? 0) : unreadLength
    if (length > maxEventBytes) throw answerTooLarge(maxEventBytes)
  }
  const follower = framing.follow(add, { maxEventBytes })
  let instead: InsteadOfEvents | undefined
  try {
    instead = await readEvents(source, framing, options, (chunk) => {
      follower.push(chunk)
      if (reported) throw reported
      if (follower.failure) throw follower.failure
      return followed.sawTerminal ? false : undefined
    })
  } finally {
    // A complete one may end by itself, and its connection be kept; one that does not end in time is cut.
    void coordinatedSocketCleanup(source, { lingerMs })
  }
  if (instead) return instead.json
  follower.end()
  if (reported) throw reported
  followed.requireComplete(received)
  if (!collected) throw unknownAnswer()
  return collected.answer
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
