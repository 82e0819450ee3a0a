import { subscribe } from 'node:diagnostics_channel'
import type { ServerResponse } from 'node:http'
import { guards } from '../registry.js'

/** Fastify's report of a handler: that it starts, that it has thrown, or that its promise has rejected. */
interface ReportedHandler {
  readonly request: { readonly body: unknown }
  readonly reply: { readonly raw: ServerResponse; readonly sent: boolean; getHeaders(): object }
  readonly error?: unknown
}

let areHeard = false

/** Hears of handlers that fail when Fastify can only log it: their replies are hijacked, or their headers are sent. */
export function hearFastifyHandlers(): void {
  if (areHeard) return
  areHeard = true
  subscribe('tracing:fastify.request.handler:start', (message) => readFastify(message as ReportedHandler))
  subscribe('tracing:fastify.request.handler:error', (message) => {
    const { reply, error } = message as ReportedHandler
    const guard = guards().get(reply.raw)
    if (reply.raw.headersSent) guard?.respond(error)
    // Without a head there would never be a response.
    else if (reply.sent) guard?.respondAtLast(error)
  })
}

/** Fastify keeps the parsed body to itself, and the headers of a reply until it sends them. */
export function readFastify({ request, reply }: ReportedHandler): void {
  const body = () => request.body
  const headers = () => reply.getHeaders()
  guards().get(reply.raw)?.readBodyFrom(body, headers)
}
