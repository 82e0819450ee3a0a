import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { isStreamError } from '../errors/stream-error.js'
import { systemClock } from '../timeouts/clock.js'
import { type CleanupPart, maxTail } from './cleanup-part.js'

/** The members that a Node stream, a request, a socket and an HTTP/2 stream have in common. */
export interface NodePart {
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

export function isNodePart(value: object): value is NodePart {
  const part = value as Partial<NodePart>
  return typeof part.destroy === 'function' && typeof part.once === 'function'
}

/** A Node stream, a request with its response, or a socket. */
export class StreamPart implements CleanupPart {
  readonly #stream: NodePart
  readonly #closing: Promise<void>

  constructor(stream: NodePart) {
    this.#stream = stream
    this.#closing = this.closed ? Promise.resolve() : new Promise((resolve) => stream.once('close', resolve))
  }

  get closed(): boolean {
    const { closed, destroyed, complete, readableEnded } = this.#stream
    // The socket of a response that was read to its end may serve another request by now.
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
    // Node destroys the socket with the error and, if the response had come whole but unread, has taken its own
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
    }).finally(() => systemClock.setImmediate(() => socket?.off('error', ignore)))
  }

  async stop(reason: Error | undefined): Promise<'destroy'> {
    const isLeft = isStreamError(reason) && reason.outcome === 'client_gone'
    // A client that leaves is not an error of its upstream: a handler that listens for those would take it for one. Only a
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
