import type { IncomingMessage, ServerResponse } from 'node:http'
import { asServerResponse, type StreamResponse } from '../client/response.js'
import { shown } from '../errors/bad-input.js'
import { catchExpressErrors } from './express-app.js'
import { guardResponse } from './guard-response.js'
import { type GuardOptions, readGuardOptions } from './request.js'

/** A request listener, for `createServer` of `node:http`, `node:https` and `node:http2`. */
// biome-ignore lint/suspicious/noExplicitAny: the listeners of three modules have nothing else in common
export type AppListener = (request: any, response: any) => void

/**
 * Protects a whole app that cannot be edited.
 *
 * Every handler that writes an event stream gets the right headers, heartbeats and deadlines. If something fails
 * mid-stream, the client gets an error event and a clean end. Every other response stays as it is.
 *
 * @param listener a request listener; its own failures are reported as well
 * @throws TypeError | RangeError that names the option and the value
 * @example
 * createServer(wrapApp((request, response) => response.end('hello'))).listen(3000)
 */
export function wrapApp(
  listener: (request: IncomingMessage, response: ServerResponse) => unknown,
  options: GuardOptions = {},
): AppListener {
  checkApp(listener)
  const settings = readGuardOptions(options)
  return (request: IncomingMessage, response: StreamResponse) => {
    const target = asServerResponse(response, 'wrapApp(app)')
    const guard = guardResponse(request, target, settings)
    if (guard.refused) return
    catchExpressErrors(listener)
    try {
      const returned = guard.enter(() => listener(request, target))
      // Most return nothing.
      if (returned) Promise.resolve(returned).catch((error) => guard.respondAtLast(error))
    } catch (error) {
      guard.respondAtLast(error)
    }
  }
}

/** @throws TypeError for anything but a listener */
function checkApp(app: unknown): void {
  if (typeof app === 'function') return
  const isKoa = typeof (Object(app) as { callback?: unknown }).callback === 'function'
  const hint = isKoa ? "; for Koa, import wrapApp from 'unhang/koa'" : ''
  throw new TypeError(`app must be a function, got ${shown(app)}${hint}`)
}
