import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import { pipeline, Readable } from 'node:stream'
import axios from 'axios'

/** A handler that knows nothing of unhang but the signal. */
type Handler = (url: string, signal: AbortSignal | undefined, response: ServerResponse) => unknown

const type = { 'Content-Type': 'text/event-stream' }

/** Calls with `http.request`, with the listener that a careful app has. */
function request(write: (answer: IncomingMessage, response: ServerResponse) => unknown): Handler {
  return (url, signal, response) => {
    http
      .request(url, { method: 'POST', agent, ...(signal && { signal }) }, (answer) =>
        write(answer, response.writeHead(200, type)),
      )
      .on('error', (error) => response.destroy(error))
      .end('{}')
  }
}

/** Its connections are kept, as those of an app are. */
export const agent = new http.Agent({ keepAlive: true })

const piped = request((answer, response) => answer.pipe(response))

export const handlers = {
  fetchLoop: async (url, signal, response) => {
    const { body } = await fetch(url, { method: 'POST', ...(signal && { signal }) })
    response.writeHead(200, type)
    for await (const chunk of body ?? []) response.write(chunk)
    response.end()
  },
  fetchPiped: async (url, signal, response) => {
    const { body } = await fetch(url, { method: 'POST', ...(signal && { signal }) })
    Readable.fromWeb(body as never).pipe(response.writeHead(200, type))
  },
  axiosPiped: async (url, signal, response) => {
    const options = {
      responseType: 'stream',
      timeout: 0,
      ...(signal && { signal }),
      httpAgent: agent,
    } as const
    const { data } = await axios.post(url, {}, options)
    data.pipe(response.writeHead(200, type))
  },
  requestPiped: piped,
  pipedWithoutSignal: (url, _signal, response) => piped(url, undefined, response),
  // For a client that has left Node 24 throws, with a guard or without.
  requestPipeline: request((answer, response) =>
    response.destroyed ? answer.destroy() : pipeline(answer, response, () => {}),
  ),
  requestByHand: request((answer, response) => {
    answer.on('error', (error) => response.destroy(error))
    answer.on('data', (chunk) => response.write(chunk)).on('end', () => response.end())
  }),
} satisfies Record<string, Handler>
