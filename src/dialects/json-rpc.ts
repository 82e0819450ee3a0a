import type { StreamError } from '../errors/stream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import {
  type DialectRequest,
  type DialectState,
  type EventRole,
  type JsonObject,
  jsonOf,
  objectsIn,
  type StreamDialect,
} from './dialect.js'

/** From here on servers define their own codes. */
const serverError = -32_000

/**
 * Streams of JSON-RPC over HTTP, as MCP has them: complete once each request of the body has its response. A tool takes as
 * long as it takes.
 *
 * @see https://modelcontextprotocol.io/specification/2025-06-18/basic/transports#streamable-http
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
  /** Requests without a response; `undefined` if they have not been parsed. */
  readonly #pending: Set<unknown> | undefined
  readonly #isSubscription: boolean
  #responded = false
  #sawId = false

  constructor({ method, body }: DialectRequest = {}) {
    this.#isSubscription = method === 'GET'
    if (body === undefined) return
    const requests = messagesIn(body).filter((message) => message.method !== undefined)
    this.#pending = new Set(requests.map(({ id }) => id).filter((id) => id !== undefined))
  }

  get complete(): boolean {
    return this.#isSubscription || (this.#pending ? this.#pending.size === 0 : this.#responded)
  }

  observe({ data, id: eventId }: SSEEvent): EventRole {
    if (eventId) this.#sawId = true
    const message = jsonOf(data)
    if (!message) return 'other'
    const { id, method } = message
    if (method === undefined && id !== undefined) {
      this.#responded = true
      this.#pending?.delete(id)
    }
    return 'content'
  }

  closing(): SSEEvent[] {
    return []
  }

  /** A client that has the id of an event asks for the events after it: an error would keep it from that. */
  failing(_error: StreamError, message: string): SSEEvent[] | undefined {
    if (this.#isSubscription || this.#sawId) return []
    if (!this.#pending || this.#pending.size === 0) return undefined
    return [...this.#pending].map((id) => ({ data: failed(id, message) }))
  }
}
