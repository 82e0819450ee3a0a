import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import { discardUnreadBody } from '../client/response.js'

/** The part of a request that a handler reads. */
export interface AskedRequest {
  readonly method?: string | undefined
  readonly url?: string | undefined
  readonly headers: IncomingHttpHeaders
}

/** A request of a fetch handler. */
export interface FetchCall {
  readonly request: Request
  /** The second argument of its fetch handler, from the server; on Node it holds the request and the response of `node:http`. */
  readonly bindings: unknown
}

/** How a handler responds, on Node or from a fetch handler. */
export interface Reply {
  send(response: ServerResponse): Promise<void> | void
  toResponse(call: FetchCall): Promise<Response> | Response
}

/** A reply that is there as a whole. */
export class PlainReply implements Reply {
  readonly #status: number
  readonly #headers: Readonly<Record<string, string>>
  readonly #body: string | undefined

  constructor(status: number, headers: Readonly<Record<string, string>> = {}, body?: string) {
    this.#status = status
    this.#headers = { 'cache-control': 'no-store', ...headers }
    this.#body = body
  }

  /** The same reply with these headers, too. */
  with(headers: Readonly<Record<string, string>>): PlainReply {
    return new PlainReply(this.#status, { ...this.#headers, ...headers }, this.#body)
  }

  send(response: ServerResponse): void {
    discardUnreadBody(response)
    response.statusCode = this.#status
    for (const [name, value] of Object.entries(this.#headers)) response.setHeader(name, value)
    if (this.#body !== undefined) response.setHeader('content-length', Buffer.byteLength(this.#body))
    response.end(this.#body)
  }

  toResponse(): Response {
    return new Response(this.#body ?? null, { status: this.#status, headers: this.#headers })
  }
}
