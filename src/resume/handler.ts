import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest } from 'node:http2'
import { requestPath } from '../client/error-response.js'
import { asServerResponse, type StreamResponse } from '../client/response.js'
import { log } from '../diagnostics/channels.js'
import { describeError } from '../diagnostics/describe-error.js'
import { guards } from '../registry.js'
import { isRequest } from '../web/call.js'
import { guardsStepAside } from '../web/node-bindings.js'
import { refuse, unavailable } from './refusals.js'
import type { AskedRequest, FetchCall, Reply } from './reply.js'

/** The part of Koa's context that is used here. */
interface KoaContext {
  req: IncomingMessage
  res: ServerResponse
  respond?: boolean | undefined
}

/** The part of Fastify's reply that is used here. */
interface FastifyReply {
  raw: ServerResponse
  hijack(): unknown
  getHeaders(): Record<string, number | string | string[] | undefined>
}

/** The part of Hono's context that is used here. */
interface HonoContext {
  req: { raw: Request; param(name: string): string | undefined }
  env?: unknown
}

/**
 * A handler for a route of Express, Fastify, Koa or Hono, or a listener of `node:http` and `node:http2`.
 * As a fetch handler it returns a response.
 */
export interface ResumeHandler {
  (
    request: IncomingMessage | Http2ServerRequest,
    response: StreamResponse,
    next?: (error?: unknown) => void,
  ): Promise<void>
  (request: { raw: IncomingMessage }, reply: FastifyReply): Promise<void>
  (context: KoaContext, next?: () => Promise<unknown>): Promise<void>
  (context: HonoContext, next?: () => Promise<unknown>): Promise<Response>
  (request: Request, ...more: unknown[]): Promise<Response>
}

/** One request to a handler. */
export interface ResumeCall {
  /** The request (Fastify's own), or the context of Koa or Hono, as the app's functions get it. */
  readonly app: object
  readonly request: AskedRequest
  /** As the client wrote it. */
  readonly path: string
  /** The guards of this request have nothing to look after: it reads no upstream. */
  stepAside(): void
}

type Serve = (call: ResumeCall) => Promise<Reply>

/** One function for all: contexts, and the requests of Fastify, hold what the others are given. */
export function toHandler(call: string, serve: Serve): ResumeHandler {
  return (async (given: object, more: unknown) => {
    const { req, env } = given as Partial<HonoContext>
    const request = isRequest(given) ? given : req?.raw
    if (isRequest(request)) return await respond(serve, given, { request, bindings: env ?? more })
    const target = targetOf(given, more)
    const response = asServerResponse(target.response, call)
    const path = requestPath(response)
    const stepAside = () => guards().get(response)?.stepAside()
    const reply = await serve({ app: given, request: target.request, path, stepAside })
    try {
      await reply.send(response)
    } catch (error) {
      log.stream('%s failed: %s', call, () => describeError(error))
      if (!response.headersSent) refuse(unavailable, path).send(response)
    }
  }) as ResumeHandler
}

async function respond(serve: Serve, app: object, call: FetchCall): Promise<Response> {
  const { method, url, headers } = call.request
  const reply = await serve({
    app,
    request: { method, url, headers: Object.fromEntries(headers) },
    path: url,
    stepAside: () => guardsStepAside(call.request, call.bindings),
  })
  return await reply.toResponse(call)
}

function targetOf(given: object, more: unknown): { request: IncomingMessage; response: ServerResponse } {
  if ('raw' in given && typeof Object(more).hijack === 'function') {
    return { request: given.raw as IncomingMessage, response: takeOver(more as FastifyReply) }
  }
  if ('req' in given && 'res' in given && typeof more !== 'object') {
    const { req, res } = given as KoaContext
    ;(given as KoaContext).respond = false
    return { request: req, response: res }
  }
  return { request: given as IncomingMessage, response: more as ServerResponse }
}

/** Fastify is not to respond. Headers that other plugins have set, say for CORS, would stay behind with the reply. */
function takeOver(reply: FastifyReply): ServerResponse {
  reply.hijack()
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (value !== undefined) reply.raw.setHeader(name, value)
  }
  return reply.raw
}

/** The id in the path: its parameter `id`, else its last part. */
export function idInPath({ app, request }: ResumeCall): string {
  const { params, req } = app as { params?: { id?: unknown }; req?: Partial<HonoContext['req']> }
  const id = params?.id ?? req?.param?.('id')
  if (typeof id === 'string') return id
  const [path = ''] = (request.url ?? '').split('?')
  const last = path.slice(path.lastIndexOf('/') + 1)
  try {
    return decodeURIComponent(last)
  } catch {
    return last
  }
}
