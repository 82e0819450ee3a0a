import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest } from 'node:http2'
import { asServerResponse, type StreamResponse } from '../client/response.js'

/** What a handler of Koa gets, as far as it is needed. */
interface KoaContext {
  req: IncomingMessage
  res: ServerResponse
  respond?: boolean | undefined
}

/** What a handler of Fastify gets beside its request, as far as it is needed. */
interface FastifyReply {
  raw: ServerResponse
  hijack(): unknown
  getHeaders(): Record<string, number | string | string[] | undefined>
}

/** A handler for a route of Express, of Fastify or of Koa, or a listener of `node:http` and `node:http2`. */
export interface ResumeHandler {
  (
    request: IncomingMessage | Http2ServerRequest,
    response: StreamResponse,
    next?: (error?: unknown) => void,
  ): Promise<void>
  (request: { raw: IncomingMessage }, reply: FastifyReply): Promise<void>
  (context: KoaContext, next?: () => Promise<unknown>): Promise<void>
}

/** One request to a handler. */
export interface ResumeCall {
  /** The request (Fastify's own), or the context of Koa, as the app's functions get it. */
  readonly app: object
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

/** One function for all: the contexts of Koa and the requests of Fastify hold what the others are given. */
export function toHandler(call: string, serve: (call: ResumeCall) => Promise<void>): ResumeHandler {
  return (async (given: IncomingMessage | KoaContext | { raw: IncomingMessage }, more: unknown) => {
    if ('raw' in given && typeof Object(more).hijack === 'function') {
      const response = asServerResponse(takeOver(more as FastifyReply), call)
      return serve({ app: given, request: given.raw, response })
    }
    if ('req' in given && 'res' in given && typeof more !== 'object') {
      const { req, res } = given as KoaContext
      ;(given as KoaContext).respond = false
      return serve({ app: given, request: req, response: asServerResponse(res, call) })
    }
    const request = given as IncomingMessage
    return serve({ app: request, request, response: asServerResponse(more as ServerResponse, call) })
  }) as ResumeHandler
}

/** Fastify is not to respond. What other plugins have set, say for CORS, would stay behind with the reply. */
function takeOver(reply: FastifyReply): ServerResponse {
  reply.hijack()
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (value !== undefined) reply.raw.setHeader(name, value)
  }
  return reply.raw
}

/** The id in the path: its parameter `id`, else its last part. */
export function idInPath({ app, request }: ResumeCall): string {
  const { params } = app as { params?: { id?: unknown } }
  if (typeof params?.id === 'string') return params.id
  const [path = ''] = (request.url ?? '').split('?')
  const last = path.slice(path.lastIndexOf('/') + 1)
  try {
    return decodeURIComponent(last)
  } catch {
    return last
  }
}
