import type { CollectedAnswer, StreamDialect } from '../dialects/dialect.js'
import { type DialectName, recognizeDialect, selectDialect } from '../dialects/index.js'
import { Transcript } from '../dialects/transcript.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import { EventStreamParser } from '../framing/sse/parse.js'
import { type InsteadOfEvents, notEvents, type ReadEventStreamOptions, readEvents } from './answer.js'
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
  const { maxEventBytes, dialect: choice } = options
  const followed = new Transcript(selectDialect(choice ?? 'plain'), choice ? undefined : recognizeDialect)
  let collected: CollectedAnswer | undefined
  let received = 0
  /** What has come while nobody knew the dialect. */
  const unread: SSEEvent[] = []
  const add = (event: SSEEvent) => {
    if (followed.sawTerminal) return
    received++
    followed.observe(event)
    unread.push(event)
    collected ??= followed.dialect.answers?.collect()
    if (collected || received > mostUnread) for (const each of unread.splice(0)) collected?.add(each)
  }
  const parser = new EventStreamParser(add, maxEventBytes)
  let instead: InsteadOfEvents | undefined
  try {
    instead = await readEvents(source, options, (chunk) => {
      parser.feed(chunk)
      if (followed.reported) throw followed.reported
      parser.check()
      return followed.sawTerminal ? false : undefined
    })
  } finally {
    // One that is complete may end by itself, and its connection be kept; what does not end in time is cut.
    void coordinatedSocketCleanup(source, { lingerMs })
  }
  if (instead) return instead.json
  parser.end()
  if (followed.reported) throw followed.reported
  followed.requireComplete(received)
  if (!collected) throw notEvents('an event stream of an unknown kind, which is also no JSON')
  return collected.answer
}
