import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { isStreamError } from '../errors/stream-error.js'
import { cancelHeld, heldReader, holdReader, releaseReader } from './web-chunks.js'

/** One thing of an exchange that can be released. */
export interface CleanupPart {
  readonly closed: boolean
  /**
   * Errors that come late must find a listener.
   *
   * @param stopping whether the part is going to be destroyed
   */
  absorbErrors(stopping: boolean): void
  /** Reads on to the end; rejects when there is too much of it. */
  finish(): Promise<void>
  stop(reason: Error | undefined): Promise<'destroy' | 'cancel' | 'unreachable'>
  whenClosed(): Promise<void>
  /** Cuts the socket underneath. */
  force(): void
}

/** As much as is read of an answer that should have ended. */
const maxTail = 64 * 1024

/** What a Node stream, a request, a socket and an HTTP/2 stream have in common. */
interface NodePart {
  destroyed?: boolean
  closed?: boolean
  complete?: boolean
  readableEnded?: boolean
  req?: object
  res?: object | null
  socket?: Socket | null
  destroy(error?: Error): unknown
  on(event: string, listener: (...values: never[]) => void): unknown
  once(event: string, listener: () => void): unknown
}

interface Composite {
  data?: unknown
  body?: unknown
  request?: unknown
  response?: unknown
  _currentRequest?: unknown
}

/** A part, and every object that stands for it: a request and its answer are one. */
export interface IdentifiedPart {
  part: CleanupPart
  identities: object[]
}

/** @returns the parts of a target, and the objects that stand for all of them together */
export function collectParts(target: unknown): { parts: IdentifiedPart[]; containers: object[] } {
  const parts: IdentifiedPart[] = []
  const seen = new Set<object>()
  const visit = (value: unknown, aliases: object[] = []): void => {
    if (typeof value !== 'object' || value === null || seen.has(value)) return
    seen.add(value)
    if (Array.isArray(value)) for (const item of value) visit(item)
    else if (value instanceof AbortController) add(new ControllerPart(value), value, aliases)
    else if (value instanceof ReadableStream) add(new WebPart(value), value, aliases)
    else if (isNodePart(value)) {
      // Destroying the answer of a request destroys the request; without an answer there is only the request.
      if (value.res && isNodePart(value.res)) visit(value.res, [value, ...aliases])
      else add(new StreamPart(value), value, value.req ? [value.req, ...aliases] : aliases)
    } else visitResponse(value as Composite, aliases)
  }
  const add = (part: CleanupPart, value: object, aliases: object[]) => {
    parts.push({ part, identities: [value, ...aliases] })
  }
  const visitResponse = (response: Composite, aliases: object[]): void => {
    const { data, body, request, _currentRequest } = response
    // axios keeps its request in here, behind the redirects it followed.
    const requests = [request, _currentRequest].filter(isObject)
    const bodies = [data, body, response.response].filter(isObject)
    for (const found of bodies) visit(found, [response, ...requests, ...aliases])
    if (bodies.length === 0) for (const found of requests) visit(found, [response, ...aliases])
  }
  visit(target)
  return { parts, containers: isObject(target) ? [target] : [] }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

function isNodePart(value: object): value is NodePart {
  const part = value as Partial<NodePart>
  return typeof part.destroy === 'function' && typeof part.once === 'function'
}

class StreamPart implements CleanupPart {
  readonly #stream: NodePart
  readonly #closing: Promise<void>

  constructor(stream: NodePart) {
    this.#stream = stream
    this.#closing = this.closed ? Promise.resolve() : new Promise((resolve) => stream.once('close', resolve))
  }

  get closed(): boolean {
    const { closed, destroyed, complete, readableEnded } = this.#stream
    // The socket of an answer that was read to its end may serve somebody else by now.
    return (
      closed === true ||
      (complete === true && readableEnded === true) ||
      (closed === undefined && !!destroyed)
    )
  }

  absorbErrors(stopping: boolean): void {
    const { req: request, socket } = this.#stream
    this.#stream.on('error', ignore)
    if (request && isNodePart(request)) request.on('error', ignore)
    // Node destroys the socket with the error and, if the answer had come whole but unread, has taken its own
    // listener off by then: the process would end. (A socket that lives on must not collect listeners.)
    if (stopping) socket?.on('error', ignore)
  }

  finish(): Promise<void> {
    const stream = this.#stream as unknown as Readable
    if (this.closed) return Promise.resolve()
    if (typeof stream.resume !== 'function') return Promise.reject(new Error('not a readable'))
    // As above: a signal may abort while the end is being read. Off again a turn later: the socket lives on.
    const { socket } = this.#stream
    socket?.on('error', ignore)
    return new Promise<void>((resolve, reject) => {
      let read = 0
      stream.once('end', resolve).once('close', resolve)
      stream.on('data', (chunk: Uint8Array) => {
        read += chunk.length
        if (read > maxTail) reject(new Error(`more than ${maxTail} bytes were left`))
      })
      stream.resume()
    }).finally(() => setImmediate(() => socket?.off('error', ignore)))
  }

  async stop(reason: Error | undefined): Promise<'destroy'> {
    const isLeft = isStreamError(reason) && reason.outcome === 'client_gone'
    // A client that leaves is no error of its upstream: a handler that listens for those would take it for one. Only a
    // response of node:http can be destroyed without any.
    const isQuiet = isLeft && typeof this.#stream.complete === 'boolean'
    if (!this.closed) this.#stream.destroy(isQuiet ? undefined : reason)
    return 'destroy'
  }

  whenClosed(): Promise<void> {
    return this.closed ? Promise.resolve() : this.#closing
  }

  force(): void {
    if (!this.closed) this.#stream.socket?.destroy()
  }
}

function ignore(): void {}

class WebPart implements CleanupPart {
  readonly #stream: ReadableStream<Uint8Array>
  #done = false

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#stream = stream
  }

  get closed(): boolean {
    return this.#done
  }

  absorbErrors(): void {}

  async finish(): Promise<void> {
    // A handler's own loop may still hold it: what it does not read any more is read beside it.
    const holding = heldReader(this.#stream)
    const reader = holding ?? holdReader(this.#stream)
    try {
      for (let read = 0; read <= maxTail; ) {
        const { done, value } = await reader.read()
        if (done) {
          this.#done = true
          return
        }
        read += value.length
      }
      throw new Error(`more than ${maxTail} bytes were left`)
    } finally {
      if (!holding) releaseReader(this.#stream)
    }
  }

  /** Where somebody else holds the lock, only they, or the signal of the request, can end the stream. */
  async stop(reason: Error | undefined): Promise<'cancel' | 'unreachable'> {
    if (this.#done) return 'cancel'
    const cancelled = cancelHeld(this.#stream, reason)
    if (!cancelled) return 'unreachable'
    // A stream that has failed rejects with its failure: it is gone all the same.
    await cancelled.catch(() => {})
    this.#done = true
    return 'cancel'
  }

  async whenClosed(): Promise<void> {}

  force(): void {}
}

class ControllerPart implements CleanupPart {
  readonly #controller: AbortController

  constructor(controller: AbortController) {
    this.#controller = controller
  }

  get closed(): boolean {
    return this.#controller.signal.aborted
  }

  absorbErrors(): void {}

  async finish(): Promise<void> {}

  async stop(reason: Error | undefined): Promise<'destroy'> {
    this.#controller.abort(reason)
    return 'destroy'
  }

  async whenClosed(): Promise<void> {}

  force(): void {}
}
