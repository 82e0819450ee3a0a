import { EventEmitter } from 'node:events'
import { Server as HttpServer, type IncomingMessage } from 'node:http'
import { createSecureServer, createServer } from 'node:http2'
import { Server as HttpsServer } from 'node:https'
import { asServerResponse, type StreamResponse } from '../client/response.js'
import { attempt } from '../diagnostics/attempt.js'
import type { Guarded } from '../registry.js'
import { catchExpressErrors } from './express-app.js'
import { guardResponse } from './guard-response.js'
import type { GuardSettings } from './request.js'

type Emit = (this: EventEmitter, name: string | symbol, ...args: unknown[]) => boolean

const plainEmit = EventEmitter.prototype.emit as Emit

/** A server with its own listener for `Expect: 100-continue` gets the request under the second name. */
const requests: readonly unknown[] = ['request', 'checkContinue']

/**
 * Guards every server of `node:http`, `node:https` and `node:http2`, also those that there are already.
 *
 * @param settings nothing to guard none of them
 * @param listens called when one begins to listen
 */
export function guardServers(settings: GuardSettings | undefined, listens: () => void): void {
  // Those of HTTP/2 are not exported.
  const secure = createSecureServer().constructor as typeof HttpServer
  const plain = createServer().constructor as typeof HttpServer
  for (const { prototype } of [HttpServer, HttpsServer, plain, secure])
    guardEvents(prototype, settings, listens)
}

/** A function in front of `emit` sees the request of every listener, wherever and whenever it is added. */
function guardEvents(
  prototype: EventEmitter,
  settings: GuardSettings | undefined,
  listens: () => void,
): void {
  const own = Object.getOwnPropertyDescriptor(prototype, 'emit')?.value as Emit | undefined
  // Looked up each time, as it would be without us: tracers stand in front of it at any time.
  const inner = () => own ?? (Object.getPrototypeOf(prototype) as { emit: Emit }).emit
  const emit: Emit = function emit(name, ...args) {
    if (name === 'listening') listens()
    const guard = settings && requests.includes(name) ? guardOf(args, settings) : undefined
    if (!guard) return inner().call(this, name, ...args)
    if (guard.refused) return true
    return guard.enter(() => emitRequest(this, inner(), guard, [name, ...args]))
  }
  Object.defineProperty(prototype, 'emit', { value: emit, writable: true, configurable: true })
}

/** Programs emit requests of their own making. One that cannot be guarded is served as it would be without us. */
function guardOf([request, response]: unknown[], settings: GuardSettings): Guarded | undefined {
  return attempt<Guarded | undefined>('a response is not guarded', undefined, () => {
    const target = asServerResponse(response as StreamResponse, 'a server')
    return guardResponse(request as IncomingMessage, target, settings)
  })
}

/** A listener that fails ends the process, and every stream in it: for a stream the failure is reported to its client instead. */
function emitRequest(
  server: EventEmitter,
  emit: Emit,
  guard: Guarded,
  [name, ...args]: [string | symbol, ...unknown[]],
): boolean {
  const failed = (error: unknown) => {
    if (!guard.respond(error)) throw error
  }
  try {
    const listeners = server.rawListeners(name)
    for (const listener of listeners) catchExpressErrors(listener)
    // Only what calls the listeners sees the promises that they return.
    if (emit !== plainEmit || capturesRejections(server)) return emit.call(server, name, ...args)
    for (const listener of listeners) {
      const returned: unknown = listener.apply(server, args)
      if (typeof Object(returned).then === 'function') (returned as Promise<unknown>).then(undefined, failed)
    }
    return listeners.length > 0
  } catch (error) {
    failed(error)
    return true
  }
}

/** Whether Node itself hears of them, as a server with `captureRejections` has asked. */
function capturesRejections(server: EventEmitter): boolean {
  const flag = Object.getOwnPropertySymbols(server).find(({ description }) => description === 'kCapture')
  return flag !== undefined && (server as never)[flag] === true
}
