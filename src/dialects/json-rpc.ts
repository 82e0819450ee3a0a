import type { StreamError } from '../errors/stream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import type { DialectRequest, DialectState, EventRole, JsonObject, StreamDialect } from './dialect.js'
import { jsonOf, objectsIn } from './dialect.js'

/** From here on servers define their own codes. */
const serverError = -32_000

/**
 * Streams of JSON-RPC over HTTP, as MCP has them: complete once each request of the body has its response. A tool takes as
 * long as it takes.
 *
 * @see https://modelcontextprotocol.io/specification/2025-06-18/basic/transports#streamable-http
 * @see https://a2a-protocol.org/v0.3.0/specification/#72-messagestream
 */
export const jsonRpc: StreamDialect = {
  name: 'json-rpc',
  needsTerminal: true,
  isUnhurried: true,
  errorBody: (_error, message) => failed(null, message),
  follow: (request) => new JsonRpcStream(request),
}

function failed(id: unknown, message: string) {
  return { jsonrpc: '2.0', id, error: { code: serverError, message } }
}

/** Whether a request says that it is one of JSON-RPC, of which MCP is the best known. */
export function isJsonRpcRequest({ headers = {}, body }: DialectRequest): boolean {
  if (headers['mcp-session-id'] !== undefined || headers['mcp-protocol-version'] !== undefined) return true
  return messagesIn(body).some(({ jsonrpc }) => jsonrpc === '2.0')
}

/** One message, or a batch of them. */
function messagesIn(body: unknown): JsonObject[] {
  return objectsIn(Array.isArray(body) ? body : [body])
}

class JsonRpcStream implements DialectState {
  /** Requests without their last response. */
  readonly #pending = new Set<unknown>()
  readonly #responded = new Set<unknown>()
  readonly #isParsed: boolean
  readonly #isSubscription: boolean
  #sawId = false

  constructor({ method, body }: DialectRequest = {}) {
    this.#isSubscription = method === 'GET'
    this.#isParsed = body !== undefined
    for (const { id, method } of messagesIn(body))
      if (id !== undefined && method !== undefined) this.#pending.add(id)
  }

  get complete(): boolean {
    return this.#isSubscription || (this.mayEnd && this.#pending.size === 0)
  }

  get mayEnd(): boolean {
    const isEach = [...this.#pending].every((id) => this.#responded.has(id))
    return isEach && (this.#isParsed || this.#responded.size > 0)
  }

  observe({ data, id }: SSEEvent): EventRole {
    if (id) this.#sawId = true
    const messages = messagesIn(typeof data === 'string' ? jsonOf(`{"all":${data}}`)?.all : data)
    for (const each of messages) this.#see(each)
    return messages.length > 0 ? 'content' : 'other'
  }

  /** A2A sends several responses to one request, and `final: true` in the last one. Not every server does. */
  #see({ id, method, result, error }: JsonObject): void {
    if (method !== undefined || id === undefined) return
    const { final = error !== undefined || !this.#responded.has(id) } = Object(result)
    this.#responded.add(id)
    if (final === false) this.#pending.add(id)
    else this.#pending.delete(id)
  }

  readonly closing = (): SSEEvent[] => []

  /** A client that has the id of an event asks for the events after it: an error would keep it from that. */
  failing(_error: StreamError, message: string): SSEEvent[] | undefined {
    if (this.#isSubscription || this.#sawId) return []
    if (this.#pending.size === 0) return undefined
    return [...this.#pending].map((id) => ({ data: failed(id, message) }))
  }
}
