import type { ServerResponse } from 'node:http'
import { withNoTransform } from './event-stream-head.js'
import type { ResponseMethods } from './response-methods.js'

/**
 * Keeps a compressing middleware away from an event stream: it looks at the headers before the guard does, and
 * leaves alone what is marked `no-transform`.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9111#name-no-transform-2
 */
export class KeptUncompressed {
  readonly #response: ServerResponse
  readonly #own: ResponseMethods
  /** What the app had set itself, once it has been added to. */
  #found: { cacheControl: string | undefined } | undefined

  constructor(response: ServerResponse, own: ResponseMethods) {
    this.#response = response
    this.#own = own
  }

  /** The app has set a header. */
  headerSet(name: string): void {
    const header = name.toLowerCase()
    if (header !== 'content-type' && header !== 'cache-control') return
    if (header === 'cache-control') this.#found = undefined
    const isStream = /^\s*text\/event-stream\b/i.test(String(this.#response.getHeader('content-type')))
    if (!isStream) return this.undo()
    if (this.#found) return
    const cacheControl = this.#response.getHeader('cache-control')
    this.#found = { cacheControl: cacheControl === undefined ? undefined : String(cacheControl) }
    this.#own.setHeader('cache-control', withNoTransform(this.#found.cacheControl))
  }

  /** It is no event stream after all. */
  undo(): void {
    if (!this.#found || this.#response.headersSent) return
    const { cacheControl } = this.#found
    this.#found = undefined
    if (cacheControl === undefined) this.#response.removeHeader('cache-control')
    else this.#own.setHeader('cache-control', cacheControl)
  }
}
