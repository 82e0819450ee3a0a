import type { IncomingMessage, OutgoingHttpHeaders, Server, ServerResponse } from 'node:http'
import type { Http2ServerResponse, ServerHttp2Session } from 'node:http2'
import { shown } from '../errors/bad-input.js'
import type { Framing } from '../framing/framing.js'
import { framingOf, framings } from '../framing/framings.js'
import { asBuffer } from './as-buffer.js'
import { type EventStreamHeadOptions, eventStreamHead } from './head.js'

/** A response of `node:http`, `node:https` or `node:http2`, also as Express and Koa hand it on. */
export type StreamResponse = ServerResponse | Http2ServerResponse

/**
 * The differences between HTTP/1 and HTTP/2 responses, in one place: all other files see a `ServerResponse`.
 *
 * @param call the function that was called with it
 * @throws TypeError for anything but a response
 */
export function asServerResponse(response: StreamResponse, call: string): ServerResponse {
  if (isResponse(response)) return response as ServerResponse
  // Koa's context and the requests of Express have the one, the replies of Fastify the other.
  const held = (['res', 'raw'] as const).find((name) => isResponse(Object(response)[name]))
  const hint = held === undefined ? '' : `; did you mean its .${held}?`
  throw new TypeError(`${call} takes a response of node:http or node:http2, got ${shown(response)}${hint}`)
}

function isResponse(value: unknown): boolean {
  const { writeHead, setHeader, on } = Object(value) as Partial<ServerResponse>
  return typeof writeHead === 'function' && typeof setHeader === 'function' && typeof on === 'function'
}

function http2Stream(response: ServerResponse) {
  // On HTTP/1 every response says whether the connection is kept. Looking for a missing property takes long.
  if (response.shouldKeepAlive !== undefined) return undefined
  return (response as unknown as Partial<Http2ServerResponse>).stream
}

/** Whether nothing can be written to the response any more: the client left, or the response was ended. */
export function isGone(response: ServerResponse): boolean {
  return response.writableEnded || isClosed(response)
}

/** Whether the response's own end of the connection is gone. A listener attached now would never be called. */
export function isClosed(response: ServerResponse): boolean {
  const stream = http2Stream(response)
  if (stream) return stream.destroyed || stream.closed
  const socket = response.socket ?? response.req?.socket
  return response.destroyed || response.closed || (!response.writableEnded && socket?.destroyed === true)
}

/** Whether a response that has closed was left by the client, not ended by us. */
export function wasLeft(response: ServerResponse): boolean {
  return !response.writableEnded || (http2Stream(response)?.rstCode ?? 0) !== 0
}

/** How many bytes wait in this process for the client to read. */
export function backlogOf(response: ServerResponse): number {
  return response.writableLength ?? http2Stream(response)?.writableLength ?? 0
}

/** The bytes that a socket is writing. Node counts all of them until the last one has left. */
interface WritingSocket {
  _writableState?: { writelen?: number }
  _handle?: { writeQueueSize?: number } | null
}

/** The same to the byte: a single write often waits on a socket, and a slow client would seem to stand still. */
export function exactBacklogOf(response: ServerResponse): number {
  const { _writableState: state, _handle: handle } = (response.socket ?? {}) as WritingSocket
  const writing = state?.writelen
  const left = handle?.writeQueueSize
  if (typeof writing !== 'number' || typeof left !== 'number') return backlogOf(response)
  return backlogOf(response) - Math.max(0, writing - left)
}

/** The format of the stream whose head was sent; `undefined` for the head of any other response. */
export function framingSent(response: ServerResponse): Framing | undefined {
  const type = response.getHeader('content-type')
  if (type !== undefined) return framingOf(type)
  // Headers that were given to writeHead() alone are to be found in no other place.
  const { _header: head } = response as { _header?: unknown }
  return typeof head === 'string' ? framingOf(/^content-type: *([^\r\n]*)/im.exec(head)?.[1]) : undefined
}

/** Sets the headers of an event stream beside those that the app has set. */
export function completeHead(
  response: ServerResponse,
  options: EventStreamHeadOptions,
  framing: Framing = framings.sse,
): void {
  const request = response.req as IncomingMessage | undefined
  const { set, remove } = eventStreamHead(
    {
      existing: response.getHeaders() as OutgoingHttpHeaders,
      httpVersion: request?.httpVersion ?? '1.1',
      keepsAlive: response.shouldKeepAlive,
      keepAliveTimeoutMs: (serverOf(response) as Partial<Server> | undefined)?.keepAliveTimeout,
      origin: request?.headers.origin,
      framing,
    },
    options,
  )
  for (const name of remove) response.removeHeader(name)
  for (const [name, value] of Object.entries(set)) response.setHeader(name, value)
}

/** An unread body would make Node cut the connection at the server's `requestTimeout`. */
export function discardUnreadBody(response: ServerResponse): void {
  const request = response.req as IncomingMessage | undefined
  if (request && request.readableFlowing === null && !request.readableEnded) request.resume()
}

/**
 * A text as it can be written. Over HTTP/2, Node 26.10 sends garbage for a string after which nothing but the end is
 * written in the same turn; bytes are safe.
 */
export function writable(response: ServerResponse, text: string, encoding?: unknown): string | Buffer {
  return http2Stream(response) ? asBuffer(text, encoding) : text
}

/** The server's `timeout` counts silence on the socket; the stream's own deadlines take its place. */
export function liftSocketTimeout(response: ServerResponse): void {
  if (http2Stream(response) || isClosed(response)) return
  response.setTimeout(0)
  response.socket?.setNoDelay(true)
}

/** The server that accepted the connection of a response. */
export function serverOf(response: ServerResponse): object | undefined {
  const socket = http2Stream(response)?.session?.socket ?? response.socket ?? response.req?.socket
  // Node sets `server` on the sockets it accepts; @types/node does not know.
  return (socket as { server?: object } | null | undefined)?.server
}

/** The HTTP/2 session of a response. */
export function sessionOf(response: ServerResponse): ServerHttp2Session | undefined {
  return http2Stream(response)?.session as ServerHttp2Session | undefined
}

/**
 * A response that waits for others on its connection has no socket yet, and is not told when that is gone.
 *
 * @param onClose called if it goes before the response's turn has come
 */
export function watchPipelined(response: ServerResponse, onClose: () => void): void {
  const socket = (response.req as IncomingMessage | undefined)?.socket
  if (http2Stream(response) || response.socket !== null || !socket) return
  const waiting = pipelinedOn(socket)
  waiting.add(onClose)
  response.once('socket', () => waiting.delete(onClose))
}

const pipelined = new WeakMap<object, Set<() => void>>()

/** One listener on each socket: many requests may wait on one. */
function pipelinedOn(socket: IncomingMessage['socket']): Set<() => void> {
  const known = pipelined.get(socket)
  if (known) return known
  const waiting = new Set<() => void>()
  pipelined.set(socket, waiting)
  socket.once('close', () => {
    for (const onClose of waiting) onClose()
  })
  return waiting
}

/** Calls back when an ended response has left this process, or never will. */
export function whenFlushed(response: ServerResponse, callback: () => void): void {
  // The response of HTTP/2 says so only once the client's side of the stream has ended as well.
  http2Stream(response)?.once('finish', callback)
  response.once('finish', callback).once('close', callback)
}

/** Resolves when a response has its connection to itself. Others may come before it (pipelining). */
export async function whenItsTurn(response: ServerResponse): Promise<void> {
  if (http2Stream(response) || response.socket !== null) return
  await new Promise<void>((resolve) => response.once('socket', () => resolve()))
}
