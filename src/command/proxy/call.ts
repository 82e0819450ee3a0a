import http, { type ClientRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http'
import https from 'node:https'
import { StreamTimeoutError } from '../../errors/stream-error.js'
import { systemClock } from '../../timeouts/clock.js'
import { keyHeadersOf, targetOf } from './access.js'
import { headersIn, requestHeaders } from './headers.js'
import type { ProxySettings } from './settings.js'

/**
 * A connection for each request: the upstream may close a keep-alive connection just when it is used. The upstream does
 * not get `Connection: close`. With it, the upstream would reset the connection when it refuses an upload, and its
 * response would be lost.
 */
function closing<Agent extends http.Agent>(agent: Agent): Agent {
  agent.keepSocketAlive = () => false
  return agent
}

const agents = {
  'http:': closing(new http.Agent({ keepAlive: true })),
  'https:': closing(new https.Agent({ keepAlive: true })),
}

/** A request on its way to the upstream. */
export interface UpstreamRequest {
  readonly request: ClientRequest
  /** Rejects if there is none. */
  readonly answer: Promise<IncomingMessage>
}

/** Begins the same request at the upstream, without its body. */
export function beginCall(
  client: IncomingMessage,
  settings: ProxySettings,
  { connectMs, ...more }: { connectMs: number; drop?: readonly string[]; add?: OutgoingHttpHeaders },
): ClientRequest {
  const { upstream } = settings
  const drop = [...keyHeadersOf(client, settings), ...(more.drop ?? [])]
  const headers = requestHeaders(client, { host: upstream.host, set: settings.headers, drop })
  const { request } = upstream.protocol === 'https:' ? https : http
  const call = request({
    agent: agents[upstream.protocol as keyof typeof agents],
    protocol: upstream.protocol,
    hostname: upstream.hostname.replace(/^\[|\]$/g, ''),
    port: upstream.port,
    method: client.method,
    path: targetOf(client.url ?? '/', settings),
    headers: { ...headers, ...more.add },
    setHost: false,
  })
  limitConnect(call, connectMs, upstream.protocol === 'https:' ? 'secureConnect' : 'connect')
  return call
}

function limitConnect(call: ClientRequest, connectMs: number, connected: string): void {
  if (!Number.isFinite(connectMs)) return
  const timer = systemClock.setTimeout(() => {
    call.destroy(new StreamTimeoutError('connect', connectMs))
  }, connectMs)
  const clear = () => systemClock.clearTimeout(timer)
  call.once('socket', (socket) => socket.once(connected, clear)).once('close', clear)
}

/** Sends a client's body as fast as the upstream takes it. */
export function sendBody(client: IncomingMessage, call: ClientRequest): UpstreamRequest {
  const { headers } = client
  const answer = new Promise<IncomingMessage>((resolve, reject) => {
    call.once('response', resolve).on('error', reject)
  })
  answer.then(
    // Its reader finds out that it broke; until then it has no listener.
    (message) => message.on('error', ignore),
    ignore,
  )
  const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
  if (!hasBody) {
    client.resume()
    call.end()
    return { request: call, answer }
  }
  // As flushHeaders(), which writes them as UTF-8: they are bytes.
  call.write(nothing)
  client.once('end', () => {
    const { rawTrailers } = client
    if (rawTrailers.length > 0) call.addTrailers(headersIn(rawTrailers))
  })
  client.pipe(call)
  // An upstream may respond without reading all of it: the rest must not hold the client's connection.
  const letGo = () => {
    client.unpipe(call).resume()
    call.destroy()
  }
  call.once('close', letGo)
  answer.then((message) => message.once('end', () => client.complete || letGo()), ignore)
  return { request: call, answer }
}

/** Sends the headers, and nothing else. */
export const nothing = Buffer.alloc(0)

function ignore(): void {}
