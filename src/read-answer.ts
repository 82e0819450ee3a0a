import { type DialectName, recognizeDialect, selectDialect } from './dialects.js'
import { EventStreamParser } from './event-stream-parser.js'
import { FollowedEvents } from './followed-events.js'
import { JsonInstead } from './json-instead.js'
import { notEvents, openEventStream, type ReadEventStreamOptions } from './open-event-stream.js'
import { readChunks } from './read-chunks.js'
import type { SSEEvent } from './sse-encode.js'
import type { StreamDialect } from './stream-dialect.js'
import type { UpstreamSource } from './upstream-source.js'

export interface ReadAnswerOptions extends ReadEventStreamOptions {
  /** How a stream is read that comes although none was asked for. Default: by its first event. */
  dialect?: StreamDialect | DialectName | undefined
}

/**
 * Reads the whole answer of an upstream for a request that wants no stream: its JSON, or, from one that only
 * streams, the JSON that its events say together.
 *
 * @throws UpstreamError when the upstream answered with an error, by status, in JSON or by an event
 * @throws StreamError `upstream_truncated` for a stream that stops short, `upstream_hangup` and
 *   `upstream_protocol` as `readEventStream`; the signal's reason when that aborts
 */
export async function readAnswer(source: UpstreamSource, options: ReadAnswerOptions = {}): Promise<unknown> {
  const { maxEventBytes, signal, onChunk, dialect: choice } = options
  const followed = new FollowedEvents(selectDialect(choice ?? 'plain'), choice ? undefined : recognizeDialect)
  let collected: ReturnType<NonNullable<StreamDialect['answers']>['collect']> | undefined
  let received = 0
  const add = (event: SSEEvent) => {
    followed.observe(event)
    if (received++ === 0) collected = followed.dialect.answers?.collect()
    collected?.add(event)
  }
  const parser = new EventStreamParser(add, maxEventBytes)
  const instead = new JsonInstead(maxEventBytes)
  for await (const chunk of readChunks(await openEventStream(source, options), signal)) {
    onChunk?.(chunk)
    if (instead.takes(chunk)) continue
    parser.feed(chunk)
    if (followed.reported) throw followed.reported
    parser.check()
    if (followed.sawTerminal) break
  }
  const answer = instead.parse()
  if (answer) return answer
  parser.end()
  if (followed.reported) throw followed.reported
  followed.requireComplete(received)
  if (!collected) throw notEvents('an event stream of an unknown kind, which is also no JSON')
  return collected.answer
}
