import type { ServerResponse } from 'node:http'
import { withNoTransform } from '../client/head.js'
import type { OriginalMethods } from './intercept.js'

/**
 * Keeps a compressing middleware away from an event stream: it looks at the headers before the guard does, and
 * leaves a response with `no-transform` alone.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9111#name-no-transform-2
 */
export class NoTransformHeader {
  readonly #response: ServerResponse
  readonly #own: OriginalMethods
  /** Whether it may be an event stream: most responses never name one. */
  #isNeeded = false
  /** The header as the app had set it, and as it was changed. */
  #marked: { name: string; found: string | string[] | undefined; made: string } | undefined

  constructor(response: ServerResponse, own: OriginalMethods) {
    this.#response = response
    this.#own = own
  }

  /** The app has set a header. */
  headerSet(name: string, value: unknown): void {
    this.#isNeeded ||= name.length === 'content-type'.length && /event-stream/i.test(String(value))
    if (!this.#isNeeded) return
    const header = name.toLowerCase()
    if (header !== 'content-type' && header !== 'cache-control') return
    if (header === 'cache-control') this.#marked = undefined
    const isStream = /^\s*text\/event-stream\b/i.test(String(this.#response.getHeader('content-type')))
    if (!isStream) return this.undo()
    if (this.#marked) return
    const found = this.#response.getHeader('cache-control') as string | string[] | undefined
    const made = withNoTransform(found === undefined ? undefined : String(found))
    if (made === found) return
    // In the app's own spelling, which is how it is sent.
    const names = (this.#response as { getRawHeaderNames?(): string[] }).getRawHeaderNames?.()
    const spelled = names?.find((raw) => raw.toLowerCase() === 'cache-control')
    this.#marked = { name: spelled ?? 'cache-control', found, made }
    this.#own.setHeader(this.#marked.name, made)
  }

  /** It is not an event stream after all. A header that the app has changed since stays as it is. */
  undo(): void {
    const { headersSent } = this.#response
    const marked = this.#marked
    this.#marked = undefined
    if (!marked || headersSent || this.#response.getHeader('cache-control') !== marked.made) return
    if (marked.found === undefined) this.#response.removeHeader('cache-control')
    else this.#own.setHeader(marked.name, marked.found)
  }
}
