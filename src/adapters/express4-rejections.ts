import type { Application, NextFunction } from 'express'
import { guards } from '../guard-registry.js'

/** A step of a route in Express 4, as far as we use it. */
interface Layer {
  handle(request: object, response: object, next: NextFunction): unknown
  handle_request(request: object, response: object, next: NextFunction): unknown
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
  const dropPromise = layer.handle_request
  layer.handle_request = function (this: Layer, request, response, next) {
    if (!guards().has(response) || this.handle.length > 3) {
      return dropPromise.call(this, request, response, next)
    }
    try {
      const promise = this.handle(request, response, next) as PromiseLike<unknown> | undefined
      if (typeof promise?.then === 'function') {
        promise.then(undefined, (error) => next(error ?? new Error('The handler rejected.')))
      }
    } catch (error) {
      next(error)
    }
  }
}
