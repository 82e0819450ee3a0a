import type { OutgoingHttpHeader, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { withNoTransform } from '../client/head.js'
import { isClosed, whenFlushed } from '../client/response.js'

const headerNames = ['setHeader', 'setHeaders', 'appendHeader', 'removeHeader', 'flushHeaders'] as const

/** The methods of a response that the guard stands in front of. */
export type ResponseMethods = Pick<ServerResponse, 'writeHead' | 'write' | 'end' | 'destroy' | 'setHeader'>

/** A response's own methods as they were found, to be used on it. */
export class OriginalMethods {
  readonly found: ResponseMethods
  readonly #response: ServerResponse

  constructor(response: ServerResponse) {
    const { writeHead, write, end, destroy, setHeader } = response
    this.found = { writeHead, write, end, destroy, setHeader }
    this.#response = response
  }

  writeHead(...args: unknown[]): ServerResponse {
    return this.found.writeHead.apply(this.#response, args as never)
  }

  write(chunk: unknown, encoding?: unknown, callback?: unknown): boolean {
    const write = this.found.write as (...args: unknown[]) => boolean
    // Whoever else stands in front of it may count what it is given.
    if (callback !== undefined) return write.call(this.#response, chunk, encoding, callback)
    if (encoding !== undefined) return write.call(this.#response, chunk, encoding)
    return write.call(this.#response, chunk)
  }

  end(...args: unknown[]): ServerResponse {
    return this.found.end.apply(this.#response, args as never)
  }

  destroy(error?: Error): ServerResponse {
    return this.found.destroy.call(this.#response, error)
  }

  setHeader(name: string, value: unknown): ServerResponse {
    return this.found.setHeader.call(this.#response, name, value as string)
  }
}

/**
 * Puts methods in front of a response's own, which are returned. They stay there: taking them away again costs more than
 * all that they do for a response that is none of ours.
 */
export function interceptResponse(response: ServerResponse, methods: ResponseMethods): OriginalMethods {
  const own = new OriginalMethods(response)
  // One by one: for every response of an app this is a part of the cost.
  response.writeHead = methods.writeHead
  response.write = methods.write
  response.end = methods.end
  response.destroy = methods.destroy
  response.setHeader = methods.setHeader
  return own
}

/** Uses a response below whatever has been put in front of it, and safe from what is hooked into it. */
export function useOwnMethods(response: ServerResponse, own: OriginalMethods, use: () => void): void {
  const { writeHead, write, end } = response
  const { found } = own
  Object.assign(response, { writeHead: found.writeHead, write: found.write, end: found.end })
  try {
    use()
  } finally {
    Object.assign(response, { writeHead, write, end })
  }
}

/**
 * The response has been answered for a handler that does not know it yet: what it still says must neither be
 * sent nor throw, since what a late handler throws ends the process.
 */
export function silenceHeaders(response: ServerResponse): void {
  for (const name of headerNames) {
    if (typeof response[name as 'setHeader'] === 'function')
      Object.assign(response, { [name]: () => response })
  }
}

/**
 * Nothing is sent: the response has been ended for its handler. It is told as Node tells of a write after the
 * end, or else an endless one would never learn of it.
 */
export function refuseWrite(response: ServerResponse, args: readonly unknown[]): false {
  const callback = callbackIn(args)
  const error = Object.assign(new Error('write after end'), { code: 'ERR_STREAM_WRITE_AFTER_END' })
  process.nextTick(() => {
    callback?.(error)
    response.emit('error', error)
  })
  return false
}

/** Nothing is sent, and nothing is missing: what is waited for comes when the response has left. */
export function ignoreEnd(response: ServerResponse, args: readonly unknown[]): ServerResponse {
  const callback = callbackIn(args)
  if (!callback) return response
  if (response.writableFinished || isClosed(response)) process.nextTick(callback)
  else whenFlushed(response, once(callback))
  return response
}

/** Nothing is sent, and nothing is missing. */
export function ignoreWrite(args: readonly unknown[]): true {
  const callback = callbackIn(args)
  if (callback) process.nextTick(callback)
  return true
}

function callbackIn(args: readonly unknown[]): ((error?: Error) => void) | undefined {
  return args.find((arg) => typeof arg === 'function') as ((error?: Error) => void) | undefined
}

function once(callback: () => void): () => void {
  let called = false
  return () => {
    if (!called) callback()
    called = true
  }
}

/** What `writeHead` was given. */
export interface GivenHead {
  status: number
  message: string | undefined
  headers: [string, OutgoingHttpHeader][]
}

/** The arguments of `writeHead`, in whichever of its forms. */
export function readHead(args: readonly unknown[]): GivenHead {
  const [status, second, third] = args
  const message = typeof second === 'string' ? second : undefined
  return {
    status: Number(status),
    message,
    headers: listHeaders(message === undefined ? (third ?? second) : third),
  }
}

/** Whether this would be the head of an event stream, and not of one that is compressed: nothing fits into that. */
export function isEventStreamHead(response: ServerResponse, given?: GivenHead['headers']): boolean {
  if (!/^\s*text\/event-stream\b/i.test(String(headerOf('content-type', response, given)))) return false
  const encoding = headerOf('content-encoding', response, given)
  return encoding === undefined || encoding === 'identity'
}

function headerOf(
  wanted: string,
  response: ServerResponse,
  given?: GivenHead['headers'],
): OutgoingHttpHeader | undefined {
  return given?.findLast(([name]) => name.toLowerCase() === wanted)?.[1] ?? response.getHeader(wanted)
}

function listHeaders(headers: unknown): [string, OutgoingHttpHeader][] {
  if (typeof headers !== 'object' || headers === null) return []
  if (!Array.isArray(headers)) {
    return Object.entries(headers as OutgoingHttpHeaders).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, value]],
    )
  }
  if (headers.every(Array.isArray)) return headers as [string, OutgoingHttpHeader][]
  const pairs: [string, OutgoingHttpHeader][] = []
  for (let at = 0; at + 1 < headers.length; at += 2) pairs.push([String(headers[at]), headers[at + 1]])
  return pairs
}

/**
 * Keeps a compressing middleware away from an event stream: it looks at the headers before the guard does, and
 * leaves alone what is marked `no-transform`.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9111#name-no-transform-2
 */
export class NoTransformHeader {
  readonly #response: ServerResponse
  readonly #own: OriginalMethods
  /** What the app had set itself, and what it has been made into. */
  #marked: { name: string; found: string | string[] | undefined; made: string } | undefined

  constructor(response: ServerResponse, own: OriginalMethods) {
    this.#response = response
    this.#own = own
  }

  /** Whether a header that has been set may be the first that matters: most responses have none. */
  static concerns(name: string, value: unknown): boolean {
    return name.length === 'content-type'.length && /event-stream/i.test(String(value))
  }

  /** The app has set a header. */
  headerSet(name: string): void {
    const header = name.toLowerCase()
    if (header !== 'content-type' && header !== 'cache-control') return
    if (header === 'cache-control') this.#marked = undefined
    const isStream = /^\s*text\/event-stream\b/i.test(String(this.#response.getHeader('content-type')))
    if (!isStream) return this.undo()
    if (this.#marked) return
    const found = this.#response.getHeader('cache-control') as string | string[] | undefined
    const made = withNoTransform(found === undefined ? undefined : String(found))
    if (made === found) return
    // In the app's own spelling, which is how it is sent.
    const names = (this.#response as { getRawHeaderNames?(): string[] }).getRawHeaderNames?.()
    const spelled = names?.find((raw) => raw.toLowerCase() === 'cache-control')
    this.#marked = { name: spelled ?? 'cache-control', found, made }
    this.#own.setHeader(this.#marked.name, made)
  }

  /** It is no event stream after all. What the app has changed since stays as it is. */
  undo(): void {
    const { headersSent } = this.#response
    const marked = this.#marked
    this.#marked = undefined
    if (!marked || headersSent || this.#response.getHeader('cache-control') !== marked.made) return
    if (marked.found === undefined) this.#response.removeHeader('cache-control')
    else this.#own.setHeader(marked.name, marked.found)
  }
}
