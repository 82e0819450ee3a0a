import { once } from 'node:events'
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { pipeline, Readable, Transform } from 'node:stream'
import { expect } from 'vitest'
import { drainStreams, getStream, type StreamContext } from '../../src/index.js'
import {
  bugTrigger,
  type ChatRequest,
  type ContractClient,
  jsonAnswer,
  type Listener,
  type MountedServer,
  type MountSettings,
} from './contract/mount.js'
import type { Seen } from './contract/seen.js'
import { upstreamClients } from './proxy.js'
import { rawRequest } from './raw-client.js'

const path = '/v1/chat/completions'

/** The chat asked for, without a body parser: the mounts differ in those. */
export async function readBody(request: IncomingMessage): Promise<ChatRequest> {
  let text = ''
  for await (const chunk of request) text += chunk
  return JSON.parse(text)
}

/** The path that the upstream is asked for. */
export function chatUrl(upstreamUrl: string, { upstreamPath = '' }: ChatRequest): string {
  return `${upstreamUrl}/${upstreamPath}`
}

interface ChatCall {
  upstreamUrl: string
  body: ChatRequest
  response: ServerResponse
  settings: MountSettings
}

/** A handler written the unhang way. Mapped, it has a bug that some event of the upstream sets off. */
export async function relayChat(
  stream: StreamContext,
  { upstreamUrl, body, response, settings }: ChatCall,
): Promise<void> {
  settings.hookInside?.(response)
  const upstream = upstreamClients.http(chatUrl(upstreamUrl, body), stream)
  if (!body.mapped) return void (await stream.relay(upstream))
  await stream.relay(upstream, (event) => {
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

/** The naive handler: no headers but the type, no error handling, no backpressure. */
export function answerNaively(
  body: ChatRequest,
  upstreamUrl: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  return answerBy(writeByHand, body, upstreamUrl, request, response)
}

/** How a handler that knows nothing of unhang gets an upstream's answer into its response. */
export type NaiveRelay = (upstream: IncomingMessage, response: ServerResponse) => unknown

export async function answerBy(
  relay: NaiveRelay,
  body: ChatRequest,
  upstreamUrl: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (body.stream !== true) {
    response.writeHead(200, { 'Content-Type': 'application/json' }).end(jsonAnswer)
    return
  }
  const upstream = await openNaively(upstreamUrl, getStream(request)?.signal)
  await relay(upstream, response.writeHead(200, { 'Content-Type': 'text/event-stream' }))
}

export const writeByHand: NaiveRelay = async (upstream, response) => {
  for await (const chunk of withBug(upstream)) response.write(chunk)
  response.end()
}

/** The bug is one of the source. */
export const pipe: NaiveRelay = (upstream, response) => void Readable.from(withBug(upstream)).pipe(response)

/** The bug is one of a step in between, and `pipeline` destroys the response with it. */
export const pipeThrough: NaiveRelay = (upstream, response) => {
  const step = new Transform({
    transform(chunk, _encoding, done) {
      const [before, ...after] = String(chunk).split(`data: ${bugTrigger}`)
      if (before) this.push(before)
      done(after.length > 0 ? new Error('password=hunter2') : undefined)
    },
  })
  pipeline(upstream, step, response, () => {})
}

/** The chunks of an upstream, up to the event that sets the bug off. */
async function* withBug(upstream: Readable): AsyncGenerator<string> {
  for await (const chunk of upstream.setEncoding('utf8')) {
    const [before, ...after] = String(chunk).split(`data: ${bugTrigger}`)
    if (before) yield before
    if (after.length > 0) throw new Error('password=hunter2')
  }
}

/** @param keptOpen looks at the headers of a response whose connection is kept */
export function askHttp1(
  port: number,
  keptOpen: (headers: Record<string, string>) => void = () => {},
): MountedServer['ask'] {
  return async (body, headers = {}) => {
    const client = rawRequest({ port, path, body, headers })
    return {
      received: async (text) => void (await client.until(() => client.bodyText.includes(text))),
      leave: () => client.reset(),
      async finished(): Promise<Seen> {
        let lastPiece = ''
        client.socket.on('data', (piece) => {
          lastPiece = piece.toString()
        })
        await client.finished()
        const headers = Object.fromEntries(
          client.head
            .split('\r\n')
            .slice(1)
            .map((line) => line.split(/: */, 2))
            .map(([name = '', value = '']) => [name.toLowerCase(), value]),
        )
        // Node's own framing is left to Node: an app that writes it costs its clients the hint.
        if (client.ending === undefined) keptOpen(headers)
        const ending = client.body.complete ? 'complete' : 'cut'
        return { status: client.status, headers, text: client.bodyText, ending, lastPiece }
      },
    }
  }
}

export async function serveHttp1(
  listener: Listener,
  { hookOutside }: Pick<MountSettings, 'hookOutside'> = {},
): Promise<MountedServer> {
  const server = createServer((request, response) => {
    hookOutside?.(response)
    void listener(request, response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    ask: askHttp1(port, (headers) => expect(headers['keep-alive']).toMatch(/^timeout=\d+$/)),
    drain: () => drainStreams(server, { graceMs: 10, forceMs: 1_000 }),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      if (server.listening) await new Promise((resolve) => server.close(resolve))
    },
  }
}

export async function serveHttp2(
  listener: Listener,
  { hookOutside }: Pick<MountSettings, 'hookOutside'> = {},
): Promise<MountedServer> {
  const server = createHttp2Server((request, response) => {
    hookOutside?.(response as never)
    void listener(request as never, response as never)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const session = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  return {
    async ask(body, headers = {}): Promise<ContractClient> {
      const stream = session.request({
        ':method': 'POST',
        ':path': path,
        'content-type': 'application/json',
        ...headers,
      })
      let text = ''
      let lastPiece = ''
      let head: Record<string, unknown> = {}
      let wake: () => void = () => {}
      stream.setEncoding('utf8').on('response', (headers) => {
        head = headers
      })
      stream.on('data', (chunk) => {
        text += chunk
        lastPiece = chunk
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
            lastPiece,
            ending: stream.rstCode === 0 ? 'complete' : 'cut',
          }
        },
      }
    },
    drain: () => drainStreams(server, { graceMs: 10, forceMs: 1_000 }),
    async [Symbol.asyncDispose]() {
      session.destroy()
      if (server.listening) await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}
