import type { Application, ErrorRequestHandler } from 'express'
import { guards } from '../registry.js'
import { passRejectionsOn } from './express4.js'

const respondLast: ErrorRequestHandler = (error, _request, response, next) => {
  if (!guards().get(response)?.respond(error)) next(error)
}

/**
 * Express' own last error handler cuts the connection once the head is sent. One of ours stands before it, and
 * goes to the end again when the app has got more routes.
 *
 * @param listener any request listener; nothing but an Express app is changed
 */
export function catchExpressErrors(listener: unknown): void {
  if (!isExpress(listener)) return
  const { _router } = listener as { _router?: { stack: { handle: unknown }[] } }
  // Express 4 throws for `router`, Express 5 has no other.
  const stack = _router?.stack ?? ('lazyrouter' in listener ? [] : (listener.router?.stack ?? []))
  if (stack.at(-1)?.handle === respondLast) return
  const place = stack.findIndex(({ handle }) => handle === respondLast)
  if (place !== -1) stack.splice(place, 1)
  listener.use(respondLast)
  passRejectionsOn(listener)
}

/** A router or an app of connect has `use`, too. */
function isExpress(listener: unknown): listener is Application {
  const { use, engine, handle } = Object(listener) as Partial<Record<'use' | 'engine' | 'handle', unknown>>
  return [use, engine, handle].every((method) => typeof method === 'function')
}
