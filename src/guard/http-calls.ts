import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { type CallEnding, type CallOwner, type CallOwners, headOf, type UpstreamCall } from './call-owner.js'

/** Where Node says what becomes of a request of `node:http`, which axios, got, node-fetch and http-proxy use. */
export type Subscribe = (channel: string, listener: (message: never) => void) => void

interface HttpMessage {
  readonly request: ClientRequest
  readonly response: IncomingMessage
}

/** Follows each request of `node:http` that is made for an owner. */
export function watchHttpCalls(owners: CallOwners, subscribe: Subscribe): void {
  /**
   * `undefined` for a request that was made without an owner, even if an owner's code runs at its later events. Also for a
   * request that is over: a value in a WeakMap outlives the young generation.
   */
  const calls = new WeakMap<ClientRequest, HttpCall | undefined>()
  const begin = (request: ClientRequest): void => {
    const owner = owners.current
    if (calls.has(request) || !owner?.isOpen || owner.isShared) return
    const call = new HttpCall(request, owner, () => calls.set(request, undefined))
    calls.set(request, call)
    owner.begun(call)
  }
  subscribe('http.client.request.created', ({ request }: HttpMessage) => {
    begin(request)
    askForPlainText(request, owners.current)
    if (!calls.has(request)) calls.set(request, undefined)
  })
  // Before Node 22 this is the only one. It comes when the body has been sent, perhaps in another owner's context.
  subscribe('http.client.request.start', ({ request }: HttpMessage) => begin(request))
  subscribe('http.client.response.finish', ({ request, response }: HttpMessage) => {
    begin(request)
    calls.get(request)?.responded(response)
  })
  subscribe('http.client.request.error', ({ request }: HttpMessage) => calls.get(request)?.failed())
}

/** A proxy copies what its client accepts, and gets a compressed stream, into which no error event can be put. */
function askForPlainText(request: ClientRequest, owner: CallOwner | undefined): void {
  const asked = request.headersSent ? undefined : request.getHeader('accept-encoding')
  // A header that is not a copy may come from a client that decodes by itself, or that has signed it.
  if (asked === undefined || asked !== owner?.unwantedEncoding) return
  request.setHeader('accept-encoding', 'identity')
}

class HttpCall implements UpstreamCall {
  readonly #request: ClientRequest
  readonly #owner: CallOwner
  #response: IncomingMessage | undefined
  #socket: Socket | undefined
  #paused = false
  /** Whether it is to be paused while the client catches up. */
  #wanted = false
  readonly #unlist: () => void

  constructor(request: ClientRequest, owner: CallOwner, unlist: () => void) {
    this.#request = request
    this.#owner = owner
    this.#unlist = unlist
  }

  get isRunning(): boolean {
    const response = this.#response
    if (response === undefined || this.#request.destroyed) return false
    return !response.destroyed && !response.complete && this.#socket?.destroyed !== true
  }

  get ending(): CallEnding | undefined {
    if (this.#response === undefined || this.isRunning) return undefined
    return endingOf(this.#response, this.#socket as Socket)
  }

  responded(response: IncomingMessage): void {
    if (this.#response) return
    this.#response = response
    const { statusCode, headers, socket } = response
    if (!this.#owner.responded(this, headOf(statusCode, headers['content-type']))) return this.#unlist()
    // A reset says so at the request, too: without a listener it ends the process.
    this.#request.on('error', ignore)
    this.#socket = socket
    response.once('close', () => this.#ended(endingOf(response, socket)))
  }

  failed(): void {
    if (!this.#response) this.#ended('aborted')
  }

  #ended(how: CallEnding): void {
    this.#unlist()
    this.#owner.ended(this, how)
  }

  cancel(): void {
    this.#request.destroy()
  }

  /** Only a response that flows: a loop and a reader pause theirs by themselves. */
  pause(): boolean {
    const response = this.#response
    if (!response || !this.isRunning) return false
    // After the handler's turn: a handler may pause its upstream by itself.
    if (!this.#wanted) process.nextTick(this.#pause)
    this.#wanted = true
    return this.#paused && response.readableFlowing === false
  }

  readonly #pause = (): void => {
    const response = this.#response
    if (!this.#wanted || !this.isRunning || response?.readableFlowing !== true) return
    response.pause()
    this.#paused = true
  }

  resume(): void {
    this.#wanted = false
    if (this.#paused) this.#response?.resume()
    this.#paused = false
  }
}

/** The peer has gone if its side of the connection has ended or failed. Otherwise the app ended the call. */
function endingOf(response: IncomingMessage, socket: Socket): CallEnding {
  if (response.complete) return 'done'
  const { readableEnded, errored } = socket as { readableEnded?: boolean; errored?: NodeJS.ErrnoException }
  return readableEnded || errored?.syscall !== undefined ? 'broken' : 'aborted'
}

function ignore(): void {}
