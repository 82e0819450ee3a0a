import type { IncomingHttpHeaders } from 'node:http'
import type { Transcript } from '../dialects/transcript.js'
import { heartbeat } from '../framing/sse/encode.js'

/** What a heartbeat is: a comment, or an event of the stream's own that says nothing. Not set: as its dialect has it. */
export type HeartbeatChoice = 'comment' | 'empty-delta' | undefined

/** As much of a client's stream as its heartbeats depend on. */
export type BeatingStream = Pick<Transcript, 'sawId' | 'framingName' | 'encode'> &
  Partial<Pick<Transcript, 'dialect' | 'emptyDelta'>>

/** What to send to this client now, so that its connection is not idle; `undefined` for nothing. */
export function heartbeatText(
  choice: HeartbeatChoice,
  headers: IncomingHttpHeaders,
  stream: BeatingStream,
): string | undefined {
  // A blank line is not JSON.
  const takesComments = stream.framingName === 'sse' && (stream.dialect?.takesComments ?? true)
  const wantsEvent = choice === 'empty-delta' || (choice === undefined && takesComments)
  const event = wantsEvent ? stream.emptyDelta?.() : undefined
  if (event) return stream.encode(event)
  return takesComments ? commentFor(headers, stream.sawId) : undefined
}

/**
 * Who asks for an event stream by its type reads with a parser of the format, and one of those takes a blank line for an
 * empty message. Everybody else may read by hand: up to a blank line, and what then begins with a colon is not an event.
 *
 * @param sawId whether an event had an id: openai-python then takes a blank line for an event
 */
function commentFor({ accept = '', 'user-agent': agent = '' }: IncomingHttpHeaders, sawId: boolean): string {
  const readsByFormat = /\btext\/event-stream\b/i.test(accept) || agent.startsWith('OpenAI/Go')
  return readsByFormat || sawId ? heartbeat : `${heartbeat}\n`
}
