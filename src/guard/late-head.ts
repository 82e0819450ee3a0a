import type { ServerResponse } from 'node:http'
import type { Framing } from '../framing/framing.js'
import { framingOf, framings } from '../framing/framings.js'

/** Calls for which Node throws once the headers have been sent, or which it writes into the body. */
const lateMethods = [
  'setHeader',
  'setHeaders',
  'appendHeader',
  'removeHeader',
  'writeEarlyHints',
  'writeContinue',
  'writeProcessing',
] as const

/**
 * The headers of a guarded stream have been sent. A handler that still sets some, as one does whose upstream breaks, must
 * not end the process: without a guard Node throws ERR_HTTP_HEADERS_SENT, most often inside an event.
 */
export class LateHead {
  readonly #response: ServerResponse
  /** Which status the client has. */
  readonly status: number
  readonly #framing: Framing | undefined
  #isOther = false

  constructor(response: ServerResponse) {
    this.#response = response
    this.#framing = framingOf(response.getHeader('content-type'))
    this.status = response.statusCode
    for (const name of lateMethods) {
      if (typeof response[name as 'setHeader'] !== 'function') continue
      Object.assign(response, { [name]: (...args: unknown[]) => this.#called(name, args) })
    }
  }

  /** The handler sends headers once more. */
  written(status: unknown): void {
    if (Number(status) !== this.status) this.#isOther = true
  }

  /** Whether what the handler has said of the headers since means that it failed. */
  get saysFailure(): boolean {
    return this.#isOther || this.#response.statusCode >= 400
  }

  #called(name: (typeof lateMethods)[number], args: readonly unknown[]): ServerResponse {
    const [header, value] = args
    // Early hints have a callback, and a handler may wait for it.
    for (const each of args) if (typeof each === 'function') process.nextTick(each)
    const isType = name === 'setHeader' && String(header).toLowerCase() === 'content-type'
    if (isType && framingOf(value) !== (this.#framing ?? framings.sse)) this.#isOther = true
    return this.#response
  }
}
