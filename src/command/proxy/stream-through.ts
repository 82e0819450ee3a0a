import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http'
import { withoutStream } from '../../client/head.js'
import type { StreamEnd } from '../../diagnostics/channels.js'
import { dialects } from '../../dialects/index.js'
import { StreamError } from '../../errors/stream-error.js'
import { UpstreamError } from '../../errors/upstream-error.js'
import { framingOf } from '../../framing/framings.js'
import { handleStream } from '../../stream/handle-stream.js'
import type { HandleStreamOptions } from '../../stream/stream-context.js'
import type { AskedStream } from './asked-stream.js'
import { decoded, isReadable } from './decoded.js'
import { forward, forwardError } from './forward.js'
import { copyHead } from './headers.js'
import { type ProxySettings, timeoutsOf } from './settings.js'

/** The parts of a stream. */
export interface ProxiedStream {
  readonly response: ServerResponse
  readonly call: ClientRequest
  /** Of the upstream; it may still be on its way. */
  readonly answer: IncomingMessage | Promise<IncomingMessage>
  readonly asked: AskedStream
  readonly onEnd: (end: StreamEnd) => void
}

/** Headers of an upstream that are not true of its events any more. */
const untrue = ['content-length', 'content-encoding', 'etag', 'accept-ranges', 'trailer']

/** Forwards an upstream's stream through `relay`. A response that turns out not to be a stream goes on as it is. */
export async function streamThrough(stream: ProxiedStream, settings: ProxySettings): Promise<void> {
  const { response, call, asked, onEnd } = stream
  const ended = handleStream(
    response,
    async ({ relay, signal, deadlines }) => {
      // The response may still be on its way. The stream itself releases the part that has come.
      signal.addEventListener('abort', () => call.destroy(), { once: true })
      const answer = await stream.answer
      if (!response.headersSent && passesAsItIs(answer, response.req, asked)) {
        const { statusCode: status = 502 } = answer
        if (status >= 400) {
          await forwardError(answer, response, () => deadlines.touch())
          // The client has it all; the record says what became of the stream.
          throw new UpstreamError({ status })
        }
        answer.on('data', () => deadlines.touch())
        await forward(answer, response)
        if (!isReadable(answer)) throw new StreamError('upstream_protocol')
        return
      }
      copyHead(answer, response, untrue)
      await relay(decoded(answer))
    },
    // Without a proxy, the client would read the upstream's own error, too.
    { ...optionsFor(stream, settings), model: asked.model, onEnd, exposeUpstreamErrors: true },
  )
  await ended
  // A stream that was refused, say since the server shuts down, has not even looked at its upstream.
  call.destroy()
}

function optionsFor({ response, asked }: ProxiedStream, settings: ProxySettings): HandleStreamOptions {
  const { dialect } = asked
  const { heartbeatMs, headersAfterMs } = settings
  const timeouts = timeoutsOf(settings)
  const writer = { heartbeatMs, headersAfterMs }
  // Evidence may still show another API than the path: only Ollama's path says nothing to `handleStream`.
  const known = dialect.name === dialects.ollama.name ? { dialect } : {}
  if (dialect !== dialects.plain && !dialect.isUnhurried) return { ...known, timeouts, writer }
  // A tool of MCP, or an unknown stream: a download's progress, or news for a page. It takes as long as it takes.
  const unhurried = { firstByteMs: false, inactivityMs: false, totalMs: false } as const
  return {
    ...known,
    timeouts: settings.timeouts === undefined ? unhurried : timeouts,
    // Its headers have come, and a page may wait for them.
    writer: { heartbeatMs, headersAfterMs: 1 },
    relay: { onTruncated: response.req.method === 'GET' ? 'accept' : 'error' },
  }
}

/** Whether a response is a stream by its own head. */
export function isEventStream(
  answer: IncomingMessage,
  { method }: IncomingMessage,
  { dialect }: AskedStream,
): boolean {
  const { headers } = answer
  if (!hasWholeBody(answer) || method === 'HEAD' || !isReadable(answer)) return false
  const framing = framingOf(headers['content-type'])
  const isFile = method === 'GET' || headers['content-length'] !== undefined
  // JSON lines that nothing says to be a chat's are as good as any file, in which no byte may change.
  return framing !== undefined && !(framing.name === 'ndjson' && isFile && dialect === dialects.plain)
}

/** Whether a response may have a body, and all of it. */
function hasWholeBody({ statusCode = 0 }: IncomingMessage): boolean {
  return statusCode >= 200 && statusCode <= 299 && !withoutStream.includes(statusCode)
}

/** The body may be a stream under a wrong type, or JSON or a page that says why there is no stream. `relay` finds out which. */
const perhapsEvents = /^\s*(text\/(plain|html)|application\/json)\b/i

/** Whether a response to a request for a stream goes to the client as it is. */
function passesAsItIs(answer: IncomingMessage, request: IncomingMessage, asked: AskedStream): boolean {
  const { headers, statusCode = 0 } = answer
  const type = headers['content-type']
  const isLines = asked.dialect === dialects.ollama
  if (isEventStream(answer, request, asked)) return isLines && framingOf(type)?.name !== 'ndjson'
  // A page for people, which a client of an API cannot read.
  if (statusCode >= 400 && asked.isSure) return !/^\s*text\//i.test(type ?? '')
  if (!hasWholeBody(answer) || !isReadable(answer)) return true
  if (type === undefined) return false
  // One JSON document is one line.
  return !perhapsEvents.test(type) || (isLines && /json/i.test(type))
}
