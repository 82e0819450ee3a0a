import { subscribe } from 'node:diagnostics_channel'
import type { ServerResponse } from 'node:http'
import { guards } from '../registry.js'

/** Fastify's report of a handler that has thrown, or whose promise has rejected. */
interface FailedHandler {
  readonly reply: { readonly raw: ServerResponse; readonly sent: boolean }
  readonly error: unknown
}

let areHeard = false

/** Hears of handlers that fail when Fastify can only log it: their replies are hijacked, or their headers are sent. */
export function hearFastifyHandlers(): void {
  if (areHeard) return
  areHeard = true
  subscribe('tracing:fastify.request.handler:error', (message) => {
    const { reply, error } = message as FailedHandler
    const guard = guards().get(reply.raw)
    if (reply.raw.headersSent) guard?.respond(error)
    // Without a head there would never be a response.
    else if (reply.sent) guard?.respondAtLast(error)
  })
}
