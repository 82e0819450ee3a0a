import type { CollectedAnswer, StreamDialect } from '../dialects/dialect.js'
import { type DialectName, recognizeDialect, selectDialect } from '../dialects/index.js'
import { Transcript } from '../dialects/transcript.js'
import type { UpstreamError } from '../errors/upstream-error.js'
import { reportedError } from '../errors/upstream-report.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import { sse } from '../framing/sse/index.js'
import {
  checkReading,
  type InsteadOfEvents,
  notEvents,
  type ReadEventStreamOptions,
  readEvents,
} from './answer.js'
import { coordinatedSocketCleanup } from './cleanup.js'
import type { UpstreamSource } from './source.js'

/** The options of {@link readAnswer}. */
export interface ReadAnswerOptions extends ReadEventStreamOptions {
  /** How a stream is read that comes although none was asked for. Default: by its first event. */
  dialect?: StreamDialect | DialectName | undefined
}

const lingerMs = 1_000
const mostUnread = 8

/**
 * Reads the whole answer of an upstream for a request that wants no stream: its JSON, or, from one that only
 * streams, the JSON that its events say together.
 *
 * @throws UpstreamError when the upstream answered with an error, by status, in JSON or by an event
 * @throws StreamError `upstream_truncated` for a stream that stops short, `upstream_hangup` and
 *   `upstream_protocol` as `readEventStream`; the signal's reason when that aborts
 */
export async function readAnswer(source: UpstreamSource, options: ReadAnswerOptions = {}): Promise<unknown> {
  checkReading(options, ['dialect'])
  const { maxEventBytes, dialect: choice } = options
  const followed = new Transcript(selectDialect(choice ?? 'plain'), choice ? undefined : recognizeDialect)
  let collected: CollectedAnswer | undefined
  let received = 0
  let reported: UpstreamError | undefined
  /** What has come while nobody knew the dialect. */
  const unread: SSEEvent[] = []
  const add = (event: SSEEvent) => {
    if (followed.sawTerminal) return
    received++
    if (followed.observe(event) === 'error') reported ??= reportedError(event.data)
    unread.push(event)
    collected ??= followed.dialect.answers?.collect()
    if (collected || received > mostUnread) for (const each of unread.splice(0)) collected?.add(each)
  }
  const follower = sse.follow(add, { maxEventBytes })
  let instead: InsteadOfEvents | undefined
  try {
    instead = await readEvents(source, options, (chunk) => {
      follower.push(chunk)
      if (reported) throw reported
      if (follower.failure) throw follower.failure
      return followed.sawTerminal ? false : undefined
    })
  } finally {
    // One that is complete may end by itself, and its connection be kept; what does not end in time is cut.
    void coordinatedSocketCleanup(source, { lingerMs })
  }
  if (instead) return instead.json
  follower.end()
  if (reported) throw reported
  followed.requireComplete(received)
  if (!collected) throw notEvents('an event stream of an unknown kind, which is also no JSON')
  return collected.answer
}
