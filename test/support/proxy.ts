import { once } from 'node:events'
import {
  Agent,
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import axios from 'axios'
import { Agent as UndiciAgent, request as undiciRequest } from 'undici'
import {
  type HandleStreamOptions,
  handleStream,
  type StreamContext,
  type StreamEnd,
  type UpstreamSource,
  watchConnect,
} from '../../src/index.js'

/** A listening server, its port, and the requests that it saw. */
export interface TestServer extends AsyncDisposable {
  readonly port: number
  readonly url: string
}

export async function listen(
  listener: (request: IncomingMessage, response: ServerResponse) => void,
  timeoutMs = 0,
  keepAliveTimeoutMs = 5_000,
): Promise<TestServer> {
  const server = createServer(listener)
  server.timeout = timeoutMs
  server.keepAliveTimeout = keepAliveTimeoutMs
  return listenOn(server)
}

/** The same for a server that there is already. */
export async function listenOn(server: Server): Promise<TestServer> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

export interface TestProxy extends TestServer {
  readonly ends: StreamEnd[]
  /** Waits for the stream with this number to end, from 0. */
  end(index?: number): Promise<StreamEnd>
}

/** A server whose every request is one stream. */
export async function startProxy(
  handler: (stream: StreamContext, request: IncomingMessage, response: ServerResponse) => unknown,
  options: HandleStreamOptions = {},
  serverTimeoutMs = 0,
): Promise<TestProxy> {
  const ends: StreamEnd[] = []
  const waiting: (() => void)[] = []
  const server = await listen((request, response) => {
    void handleStream(response, (stream) => handler(stream, request, response), {
      ...options,
      onEnd: (end) => {
        ends.push(end)
        for (const wake of waiting.splice(0)) wake()
        options.onEnd?.(end)
        // The test looks at failures itself.
        return true
      },
    })
  }, serverTimeoutMs)
  return {
    ...server,
    ends,
    async end(index = 0) {
      while (ends.length <= index) await new Promise<void>((resolve) => waiting.push(resolve))
      return ends[index] as StreamEnd
    },
    [Symbol.asyncDispose]: server[Symbol.asyncDispose],
  }
}

/** How a handler may call its upstream. */
export type OpenUpstream = (url: string, stream: StreamContext) => Promise<UpstreamSource>

/** The pool that the `http` client takes its connections from. */
export const agent = new Agent({ keepAlive: true, timeout: 30_000 })
const dispatcher = new UndiciAgent({ headersTimeout: 0, bodyTimeout: 0 })

/** The four clients that the library promises to understand. */
export const upstreamClients: Record<'http' | 'axios' | 'fetch' | 'undici', OpenUpstream> = {
  http: (url, { signal, deadlines }) =>
    new Promise((resolve, reject) => {
      const request = httpRequest(url, { method: 'POST', agent, signal })
      watchConnect(request, deadlines).on('response', resolve).on('error', reject).end()
    }),
  axios: (url, { signal }) =>
    axios.post(url, undefined, { responseType: 'stream', signal, timeout: 0, validateStatus: () => true }),
  fetch: (url, { signal }) => fetch(url, { method: 'POST', signal }),
  undici: (url, { signal }) =>
    undiciRequest(url, { method: 'POST', signal, dispatcher }) as Promise<UpstreamSource>,
}
