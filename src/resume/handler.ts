import type { IncomingMessage, ServerResponse } from 'node:http'
import { asServerResponse } from '../client/response.js'

/** What a handler of Koa gets, as far as it is needed. */
interface KoaContext {
  req: IncomingMessage
  res: ServerResponse
  respond?: boolean | undefined
}

/** A handler for a route of Express, for one of Koa, or a listener of `node:http`. */
export interface ResumeHandler {
  (request: IncomingMessage, response: ServerResponse, next?: (error?: unknown) => void): Promise<void>
  (context: KoaContext, next?: () => Promise<unknown>): Promise<void>
}

/** One request to a handler. */
export interface ResumeCall {
  /** The request, or the context of Koa, as the app's functions get it. */
  readonly app: object
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

/** One function for all: the contexts of Koa hold what the others are given. */
export function toHandler(call: string, serve: (call: ResumeCall) => Promise<void>): ResumeHandler {
  return (async (given: IncomingMessage | KoaContext, more: unknown) => {
    if ('req' in given && 'res' in given && typeof more !== 'object') {
      const { req, res } = given as KoaContext
      ;(given as KoaContext).respond = false
      return serve({ app: given, request: req, response: asServerResponse(res, call) })
    }
    const request = given as IncomingMessage
    return serve({ app: request, request, response: asServerResponse(more as ServerResponse, call) })
  }) as ResumeHandler
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
