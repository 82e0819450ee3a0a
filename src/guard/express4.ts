import type { Application, ErrorRequestHandler, NextFunction, Request, Response } from 'express'
import { describeTrace } from '../diagnostics/describe-error.js'
import { guards } from '../registry.js'

/** A step of a route in Express 4, as far as we use it. */
interface Layer {
  handle: (request: object, response: object, next: NextFunction) => unknown
  handle_request(request: object, response: object, next: NextFunction): unknown
  handle_error(error: unknown, request: object, response: object, next: NextFunction): unknown
}

const patched = new WeakSet<object>()

/**
 * Express 4 drops the promise that an async handler returns: one that rejects ends the process, and every
 * stream in it. Guarded requests get what Express 5 does: the rejection goes to `next`.
 *
 * @see https://expressjs.com/en/guide/migrating-5.html#rejected-promises
 */
export function passRejectionsOn(app: Application): void {
  const { _router: router } = app as { _router?: { stack: Layer[] } }
  const layer: Layer | null = router?.stack[0] ? Object.getPrototypeOf(router.stack[0]) : null
  if (typeof layer?.handle_request !== 'function' || patched.has(layer)) return
  patched.add(layer)
  const { handle_request: handleRequest, handle_error: handleError } = layer
  layer.handle_request = function (this: Layer, request, response, next) {
    if (!guards().has(response) || this.handle.length > 3)
      return handleRequest.call(this, request, response, next)
    callWith(next, (once) => this.handle(request, response, once))
  }
  layer.handle_error = function (this: Layer, error, request, response, next) {
    const handle = this.handle as unknown as ErrorRequestHandler
    if (!guards().has(response) || handle.length !== 4)
      return handleError.call(this, error, request, response, next)
    callWith(next, (once) => handle(error, request as Request, response as Response, once))
  }
}

/** A handler may both call `next` and reject: its request goes on once. */
function callWith(next: NextFunction, handle: (next: NextFunction) => unknown): void {
  let passedOn: unknown[] | undefined
  const once = ((...args: [unknown]) => {
    passedOn = args
    next(...args)
  }) as NextFunction
  try {
    const promise = handle(once) as PromiseLike<unknown> | undefined
    if (typeof promise?.then !== 'function') return
    promise.then(undefined, (error) => {
      if (!passedOn) next(error ?? new Error('The handler rejected.'))
      else if (!passedOn.includes(error)) showRejection(error)
    })
  } catch (error) {
    next(error)
  }
}

/** Its request goes on elsewhere. Without us it would have been unhandled: it must not go unseen, nor end the streams of others. */
function showRejection(error: unknown): void {
  // The app's own listener hears it as before.
  if (process.listenerCount('unhandledRejection') > 0) throw error
  console.error('unhang: a handler rejected after it had called next: %s', describeTrace(error))
}
