import { type ClientRequest, type IncomingMessage, type Server, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { type Duplex, pipeline } from 'node:stream'
import { toStreamError } from '../../errors/classify.js'
import { StreamError } from '../../errors/stream-error.js'
import { type Refusal, refusalBody, refusalOf } from './access.js'
import { beginCall } from './call.js'
import { endToEnd, type Header, headersIn } from './headers.js'
import type { ProxySettings } from './settings.js'

/**
 * Pipes WebSockets through, both ways. Another upgrade, say to HTTP/2 as Java's client asks for with each request, is no
 * reason not to respond: the request goes on without it.
 *
 * @returns the connections that are the server's no more: tunnels, and those that are being refused
 */
export function tunnelUpgrades(server: Server, settings: ProxySettings, connectMs: number): Set<Duplex> {
  const open = new Set<Duplex>()
  const keep = (socket: Duplex) => {
    open.add(socket)
    socket.on('error', () => {}).once('close', () => open.delete(socket))
  }
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (!isWebSocket(request)) return serveWithout(server, request, socket as Socket, head)
    keep(socket)
    const refusal = refusalOf(request, settings)
    if (refusal) return refuseRaw(socket, refusal)
    tunnel(request, socket, head, { settings, connectMs })
  })
  server.on('connect', (_request: IncomingMessage, socket: Duplex) => {
    keep(socket)
    const message = 'This is a proxy for one upstream. It does not CONNECT.'
    refuseRaw(socket, { status: 405, code: 'method_not_allowed', message })
  })
  return open
}

/** Whether a request asks for the one upgrade that passes. */
export function isWebSocket({ headers }: IncomingMessage): boolean {
  return /^websocket$/i.test(headers.upgrade ?? '')
}

/** The same connection again, with the same request but for the upgrade: Node before 22.21 always emits the event. */
function serveWithout(server: Server, request: IncomingMessage, socket: Socket, head: Buffer): void {
  const headers = headersIn(request.rawHeaders).filter(
    ([name]) => !['upgrade', 'http2-settings', 'connection'].includes(name.toLowerCase()),
  )
  const line = `${request.method} ${request.url} HTTP/${request.httpVersion}`
  socket.unshift(Buffer.concat([headText(line, headers), head]))
  server.emit('connection', socket)
}

function tunnel(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  { settings, connectMs }: { settings: ProxySettings; connectMs: number },
): void {
  const add = { Connection: 'Upgrade', Upgrade: 'websocket' }
  const refuse = (error: unknown) => {
    const { status, code, message } = toStreamError(error, 'upstream_connect')
    refuseRaw(socket, { status, code, message })
  }
  let call: ClientRequest | undefined
  socket.once('close', () => call?.destroy())
  try {
    call = beginCall(request, settings, { connectMs, add, drop: ['trailer'] })
    awaitUpgrade(call, { socket, head, refuse })
    call.end()
  } catch (error) {
    // No code around this event would catch it, and the process would end.
    call?.destroy()
    refuse(new StreamError('internal', { cause: error }))
  }
}

/** @param client its socket, its first bytes, and how it is refused */
function awaitUpgrade(
  call: ClientRequest,
  { socket, head, refuse }: { socket: Duplex; head: Buffer; refuse: (error: unknown) => void },
): void {
  const left = () => socket.destroy()
  const takeEarly = readEarly(socket.once('end', left), head)
  /** From here on the client has something, and nothing may be put into that. */
  const responded = () => call.off('error', refuse).on('error', () => socket.destroy())
  call.on('upgrade', (answer, upstream, upstreamHead) => {
    responded()
    const headers = [...endToEnd(answer), ['Connection', 'Upgrade'], ['Upgrade', 'websocket']] as Header[]
    socket.write(headText(`HTTP/1.1 101 ${answer.statusMessage}`, headers))
    socket.write(upstreamHead)
    upstream.write(takeEarly())
    socket.off('end', left)
    join(socket, upstream)
    join(upstream, socket)
  })
  call.on('response', (answer) => {
    responded()
    // Its body ends with the connection, and no trailer can follow.
    const kept = endToEnd(answer).filter(([name]) => name.toLowerCase() !== 'trailer')
    const headers = [...kept, ['Connection', 'close']] as Header[]
    socket.write(headText(`HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}`, headers))
    takeEarly()
    socket.off('end', left).resume()
    pipeline(answer, socket, () => socket.destroy())
  })
  call.on('error', refuse)
}

/** More than a client sends before it knows whether it will be heard. */
const maxEarlyBytes = 64 * 1024

/**
 * Reads a client's connection while its upgrade waits: if nothing read it, nothing would show that the client has left.
 *
 * @returns stops reading, and returns all that has come
 */
function readEarly(socket: Duplex, head: Buffer): () => Buffer {
  const chunks = [head]
  let bytes = head.length
  const read = (chunk: Buffer) => {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > maxEarlyBytes) socket.pause()
  }
  socket.on('data', read)
  return () => {
    socket.off('data', read)
    return Buffer.concat(chunks)
  }
}

/** Bytes of one side go to the other, and so does its end. */
function join(from: Duplex, to: Duplex): void {
  if ('setTimeout' in from) (from as Socket).setTimeout(0).setNoDelay(true)
  pipeline(from, to, () => {})
}

function headText(line: string, headers: readonly Header[]): Buffer {
  return Buffer.from([line, ...headers.map((header) => header.join(': ')), '', ''].join('\r\n'), 'latin1')
}

function refuseRaw(socket: Duplex, refusal: Refusal): void {
  if (!socket.writable) return
  const body = refusalBody(refusal)
  const headers: Header[] = [
    ['Content-Type', 'application/json'],
    ['Content-Length', String(Buffer.byteLength(body))],
    ['Connection', 'close'],
  ]
  socket.write(headText(`HTTP/1.1 ${refusal.status} ${STATUS_CODES[refusal.status]}`, headers))
  // A client may keep its side open for ever. Bytes that nothing reads would turn the close into a reset.
  socket.resume()
  socket.end(body, () => socket.destroy())
}
