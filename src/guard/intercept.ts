import type { IncomingMessage, ServerResponse } from 'node:http'
import { isClosed, whenFlushed } from '../client/response.js'
import { guards } from '../registry.js'

const headerNames = ['setHeader', 'setHeaders', 'appendHeader', 'removeHeader', 'flushHeaders'] as const

/** The methods of a response that the guard stands in front of. */
export type ResponseMethods = Pick<
  ServerResponse,
  'writeHead' | 'write' | 'end' | 'destroy' | 'setHeader' | 'flushHeaders'
>

/** A response's own methods as they were found, to be used on it. */
export class OriginalMethods {
  readonly found: ResponseMethods
  readonly #response: ServerResponse

  constructor(response: ServerResponse) {
    const { writeHead, write, end, destroy, setHeader, flushHeaders } = response
    this.found = { writeHead, write, end, destroy, setHeader, flushHeaders }
    this.#response = response
  }

  writeHead(...args: unknown[]): ServerResponse {
    return this.found.writeHead.apply(this.#response, args as never)
  }

  write(chunk: unknown, encoding?: unknown, callback?: unknown): boolean {
    const write = this.found.write as (...args: unknown[]) => boolean
    // Other code that stands in front of it may count what it is given.
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

  flushHeaders(): void {
    this.found.flushHeaders?.call(this.#response)
  }

  setHeader(name: string, value: unknown): ServerResponse {
    return this.found.setHeader.call(this.#response, name, value as string)
  }
}

/**
 * Puts methods in front of a response's own, which are returned. They stay there: taking them away again costs more than
 * all that they do for a response that is left alone.
 */
export function interceptResponse(response: ServerResponse, methods: ResponseMethods): OriginalMethods {
  const own = new OriginalMethods(response)
  // One by one: for every response of an app this is a part of the cost.
  response.writeHead = methods.writeHead
  response.write = methods.write
  response.end = methods.end
  response.destroy = methods.destroy
  response.setHeader = methods.setHeader
  response.flushHeaders = methods.flushHeaders
  return own
}

/** Runs the listeners of a request for its owner: the socket emits the events of a body without one. */
export function interceptEvents(request: IncomingMessage): void {
  const { emit } = request
  if (!Object.hasOwn(request, 'emit')) request.emit = emitForOwner
  else request.emit = (...args: unknown[]) => enter(request, () => emit.apply(request, args as never))
}

/** One for all: a function for each request, as its own property, was seen to outlive the young generation. */
function emitForOwner(this: IncomingMessage, ...args: unknown[]): boolean {
  // Some proxies derive an object from the request, and pass that on.
  let holder: IncomingMessage = this
  while (!Object.hasOwn(holder, 'emit')) holder = Object.getPrototypeOf(holder)
  return enter(holder, () => Object.getPrototypeOf(holder).emit.apply(this, args))
}

function enter(request: IncomingMessage, emit: () => boolean): boolean {
  const guard = guards().get(request)
  return guard ? guard.enter(emit) : emit()
}

/** Asks before any listener hears that a response has closed: as long as it is held, no listener does. */
export function interceptClose(response: ServerResponse, holds: () => boolean): void {
  const { emit } = response
  response.emit = (...args: [string, ...unknown[]]) => {
    if (args[0] === 'close' && holds()) return true
    return emit.apply(response, args)
  }
}

/** Uses a response below all code in front of it, and safe from hooks in it. */
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
 * The guard has responded for a handler that does not know it yet: later headers of the handler must neither be
 * sent nor throw, since a late handler that throws ends the process.
 */
export function silenceHeaders(response: ServerResponse): void {
  for (const name of headerNames) {
    if (typeof response[name as 'setHeader'] === 'function')
      Object.assign(response, { [name]: () => keepOpenForTurn(response) })
  }
}

/** Node 24 throws where a stream is piped into a response that has closed, which a handler does in the turn of its headers. */
export function keepOpenForTurn(response: ServerResponse): ServerResponse {
  const state: { destroyed: boolean; _closed?: boolean } = response
  const { destroyed, _closed } = state
  // One whose client has left has no end that the pipeline would see.
  if (_closed !== true || !response.writableEnded) return response
  Object.assign(state, { destroyed: false, _closed: false })
  queueMicrotask(() => Object.assign(state, { destroyed, _closed }))
  return response
}

/**
 * Nothing is sent: the response has been ended for its handler. It gets the error that Node gives for a write after the
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

/** No byte is sent, and none is missing: a callback that waits is called when the response has left. */
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
