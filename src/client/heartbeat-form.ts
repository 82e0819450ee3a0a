import type { IncomingHttpHeaders } from 'node:http'
import type { Transcript } from '../dialects/transcript.js'
import { heartbeat } from '../framing/sse/encode.js'

/** The form of a heartbeat: a comment, or an event of the stream's own without content. Not set: as its dialect has it. */
export type HeartbeatChoice = 'comment' | 'empty-delta' | undefined

/** As much of a client's stream as its heartbeats depend on. */
export type BeatingStream = Pick<Transcript, 'sawId' | 'framingName' | 'encode'> &
  Partial<Pick<Transcript, 'dialect' | 'emptyDelta'>>

/** The heartbeat for this client now; `undefined` for none. */
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
 * A client that asks for an event stream by its type has a parser of the format, and some of those take a blank line for an
 * empty message. Any other client may read by hand: up to a blank line, and a part that begins with a colon is not an event.
 *
 * @param sawId whether an event had an id: openai-python then takes a blank line for an event
 */
function commentFor({ accept = '', 'user-agent': agent = '' }: IncomingHttpHeaders, sawId: boolean): string {
  const readsByFormat = /\btext\/event-stream\b/i.test(accept) || agent.startsWith('OpenAI/Go')
  return readsByFormat || sawId ? heartbeat : `${heartbeat}\n`
}
