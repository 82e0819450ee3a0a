import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2'
import type { AddressInfo } from 'node:net'
import type { Readable } from 'node:stream'
import { expect } from 'vitest'
import { getStream, type Stream } from '../../src/index.js'
import {
  bugTrigger,
  type ContractClient,
  jsonAnswer,
  type MountedServer,
  type Seen,
} from './adapter-contract.js'
import { listen, upstreamClients } from './proxy.js'
import { rawRequest } from './raw-client.js'

const path = '/v1/chat/completions'

/** The chat asked for, without a body parser: the mounts differ in those. */
export async function readBody(request: IncomingMessage): Promise<{ stream?: boolean }> {
  let text = ''
  for await (const chunk of request) text += chunk
  return JSON.parse(text)
}

/** A handler written the unhang way; it has a bug that some event of the upstream sets off. */
export async function relayChat(stream: Stream, upstreamUrl: string): Promise<void> {
  await stream.relay(upstreamClients.http(upstreamUrl, stream), (event) => {
    if (event.data === bugTrigger) throw new Error('password=hunter2')
    return event
  })
}

/** An upstream's answer, for handlers that do not know of unhang but may know the signal. */
function openNaively(upstreamUrl: string, signal?: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const call = httpRequest(upstreamUrl, { method: 'POST', ...(signal ? { signal } : {}) })
    call.on('response', resolve).on('error', reject).end()
  })
}

/** What a naive handler does: no headers but the type, no error handling, no backpressure. */
export async function answerNaively(
  body: { stream?: boolean },
  upstreamUrl: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (body.stream !== true) {
    response.writeHead(200, { 'Content-Type': 'application/json' }).end(jsonAnswer)
    return
  }
  const upstream = await openNaively(upstreamUrl, getStream(request)?.signal)
  response.writeHead(200, { 'Content-Type': 'text/event-stream' })
  for await (const chunk of withBug(upstream)) response.write(chunk)
  response.end()
}

/** The chunks of an upstream, up to the event that sets the bug off. */
async function* withBug(upstream: Readable): AsyncGenerator<string> {
  for await (const chunk of upstream.setEncoding('utf8')) {
    const [before, ...after] = String(chunk).split(`data: ${bugTrigger}`)
    if (before) yield before
    if (after.length > 0) throw new Error('password=hunter2')
  }
}

export async function serveHttp1(
  listener: (request: IncomingMessage, response: ServerResponse) => unknown,
): Promise<MountedServer> {
  const server = await listen((request, response) => void listener(request, response))
  return {
    async ask(body): Promise<ContractClient> {
      const client = rawRequest({ port: server.port, path, body })
      return {
        received: async (text) => void (await client.until(() => client.bodyText.includes(text))),
        leave: () => client.reset(),
        async finished(): Promise<Seen> {
          await client.finished()
          const headers = Object.fromEntries(
            client.head
              .split('\r\n')
              .slice(1)
              .map((line) => line.split(/: */, 2))
              .map(([name = '', value = '']) => [name.toLowerCase(), value]),
          )
          // Node's own framing is left to Node: an app that writes it costs its clients the hint.
          if (client.ending === undefined) expect(headers['keep-alive']).toMatch(/^timeout=\d+$/)
          const ending = client.body.complete ? 'complete' : 'cut'
          return { status: client.status, headers, text: client.bodyText, ending }
        },
      }
    },
    [Symbol.asyncDispose]: server[Symbol.asyncDispose],
  }
}

export async function serveHttp2(
  listener: (request: IncomingMessage, response: ServerResponse) => unknown,
): Promise<MountedServer> {
  const server = createHttp2Server((request, response) => void listener(request as never, response as never))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const session = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  return {
    async ask(body): Promise<ContractClient> {
      const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/json' })
      let text = ''
      let head: Record<string, unknown> = {}
      let wake: () => void = () => {}
      stream.setEncoding('utf8').on('response', (headers) => {
        head = headers
      })
      stream.on('data', (chunk) => {
        text += chunk
        wake()
      })
      stream.on('error', () => {})
      const closed = new Promise<void>((resolve) => stream.once('close', resolve))
      stream.end(JSON.stringify(body))
      return {
        async received(part) {
          while (!text.includes(part)) {
            await Promise.race([
              new Promise<void>((resolve) => {
                wake = resolve
              }),
              closed.then(() => expect.unreachable(`the stream ended with: ${text}`)),
            ])
          }
        },
        leave: () => stream.close(8),
        async finished(): Promise<Seen> {
          await closed
          const headers = Object.fromEntries(
            Object.entries(head).map(([name, value]) => [name, String(value)]),
          )
          for (const name of ['connection', 'keep-alive', 'transfer-encoding'])
            expect(headers).not.toHaveProperty(name)
          return {
            status: Number(head[':status']),
            headers,
            text,
            ending: stream.rstCode === 0 ? 'complete' : 'cut',
          }
        },
      }
    },
    async [Symbol.asyncDispose]() {
      session.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
