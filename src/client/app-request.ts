/** The app's own functions get this in place of the request of `node:http`, or of a fetch handler. */
const appRequests = new WeakMap<object, object>()

/** In Koa and Hono the app knows a request by its context, in Fastify by a request of Fastify's. */
export function setAppRequest(request: object, context: object): void {
  appRequests.set(request, context)
}

/** The request as the app's functions get it. */
export function appRequestOf(request: object): object {
  return appRequests.get(request) ?? request
}
