import type { ServerResponse } from 'node:http'
import { asBuffer } from '../client/as-buffer.js'
import { isForConnection, withoutConnectionHeaders } from './given-head.js'
import type { WatchedResponse } from './handle.js'
import { keepOpenForTurn, type ResponseMethods } from './intercept.js'
import { reportIn } from './json-report.js'

/** A response whose kind is still to be seen. */
interface OpeningResponse extends WatchedResponse {
  /** It is an event stream. @throws what the app has hooked into its headers */
  begin(isOpaque: boolean): ServerResponse
}

/** A handler's response before its first byte is sent: from that the guard learns whether it is a stream. */
export class Opening {
  readonly #guard: OpeningResponse

  constructor(guard: OpeningResponse) {
    this.#guard = guard
  }

  /** Those of the response that it stands in front of. */
  get methods(): Pick<ResponseMethods, 'setHeader' | 'flushHeaders' | 'writeHead'> {
    return {
      setHeader: this.#setHeader as ServerResponse['setHeader'],
      flushHeaders: this.#flushHeaders,
      writeHead: this.#writeHead as ServerResponse['writeHead'],
    }
  }

  readonly #setHeader = (name: string, value: unknown): ServerResponse => {
    const { response, own, head, state } = this.#guard
    if (isForConnection(response, name)) return response
    own.setHeader(name, value)
    if (state === 'waiting') head.headerSet(name, value)
    return response
  }

  readonly #flushHeaders = (): void => {
    const { response, own, head } = this.#guard
    const isWaiting = () => this.#guard.state === 'waiting'
    // As Node does. A handler that wants its head sent now must not wait for a body to say what it is.
    if (isWaiting() && !head.isHeld && !response.headersSent) response.writeHead(response.statusCode)
    if (isWaiting() && head.isHeld) this.#guard.pass()
    own.flushHeaders()
  }

  readonly #writeHead = (...given: unknown[]): ServerResponse => {
    const { response, own, head, state } = this.#guard
    const args = withoutConnectionHeaders(response, given)
    if (state === 'closed') return keepOpenForTurn(response)
    if (state === 'streaming') {
      head.late?.written(args[0])
      return response
    }
    if (state === 'waiting') {
      const kind = head.written(args)
      if (kind === 'stream' || kind === 'opaque') return this.#guard.begin(kind === 'opaque')
      if (kind === 'held') return response
      this.#guard.pass()
    }
    return own.writeHead(...args)
  }

  /** The first bytes of a body decide where the head alone does not. */
  bodyBegins(chunk: unknown, encoding: unknown): void {
    const guard = this.#guard
    // A text needs no copy to be looked at, unless it stands for other bytes.
    const isEncoded = typeof chunk === 'string' && typeof encoding === 'string'
    const kind = guard.head.begins(isEncoded ? asBuffer(chunk, encoding) : chunk)
    // An upstream's error, whole and under the name of an event stream, has a status.
    const error = kind === 'json' ? reportIn(asBuffer(chunk as string | Uint8Array, encoding)) : undefined
    if (error) return guard.fail(error)
    if (kind === 'json' || kind === 'other') return guard.pass()
    if (guard.head.isHeld) return void guard.begin(kind === 'opaque')
    guard.head.expected = kind
    // As Node would, so that code in front of us hears of it.
    guard.response.writeHead(guard.response.statusCode)
  }
}
