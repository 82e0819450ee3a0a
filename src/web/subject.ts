import type { IncomingHttpHeaders } from 'node:http'
import { appRequestOf } from '../client/app-request.js'
import { detectStreamingRequest, type StreamingHints } from '../client/detect-streaming-request.js'
import { modelOf } from '../client/request-hints.js'
import { givenRequestId } from '../client/request-id.js'
import type { DialectRequest, StreamDialect } from '../dialects/dialect.js'
import { dialectOfHead, selectDialect } from '../dialects/index.js'
import type { Framing } from '../framing/framing.js'
import { framings } from '../framing/framings.js'
import type { TimedRequest } from '../stream/request-timeouts.js'
import type { StreamSubject } from '../stream/stream-subject.js'
import type { WebCall } from './call.js'

/** The facts of a fetch handler's stream. */
export class WebSubject implements StreamSubject, TimedRequest, DialectRequest {
  readonly requestId: string
  readonly headers: IncomingHttpHeaders
  readonly server: object | undefined
  readonly #request: Request | undefined
  /** How its events are written. */
  framing: Framing = framings.sse
  /** The headers of the response, once there is one. */
  head: Headers | undefined
  model: string | undefined
  /** The parsed body; `undefined` as long as it has not been parsed. */
  body: unknown

  /** @param server the server that accepted the request, where one is known */
  constructor({ request, model, requestId }: WebCall, server?: object) {
    this.#request = request
    this.headers = request ? Object.fromEntries(request.headers) : {}
    this.requestId = requestId ?? givenRequestId(this) ?? crypto.randomUUID()
    this.model = model
    this.server = server
  }

  get method(): string | undefined {
    return this.#request?.method
  }

  get url(): string {
    return this.#request?.url ?? ''
  }

  /** The request, or its context, as the app's functions get it. */
  get appRequest(): object {
    return appRequestOf(this.#request as Request)
  }

  /** The client leaves when it aborts. */
  get left(): AbortSignal | undefined {
    return this.#request?.signal
  }

  get request(): DialectRequest {
    return this
  }

  get dialect(): StreamDialect {
    const { head } = this
    const shown = head && dialectOfHead({ hasHeader: (name) => head.has(name) })
    return shown ?? selectDialect(undefined, this.url, this)
  }

  get isWanted(): boolean {
    return this.wants(undefined)
  }

  /** The body has been parsed by now. */
  parsed(body: unknown): void {
    this.body = body
    this.model ??= modelOf(body)
  }

  /** Whether the request asks for a stream, as far as that is known. */
  wants(hints: StreamingHints | undefined): boolean {
    if (!this.#request) return false
    const { method, url, headers, body } = this
    return detectStreamingRequest({ method, url, headers, body }, hints)
  }
}
