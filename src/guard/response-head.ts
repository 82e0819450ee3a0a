import type { ServerResponse } from 'node:http'
import { setRequestId } from '../client/request-id.js'
import { completeHead } from '../client/response.js'
import type { Framing } from '../framing/framing.js'
import { framingOf, framings } from '../framing/framings.js'
import { warnOfCompressedStream } from '../stream/opaque-stream.js'
import { beginsWithEvent, looksLikeJson } from './body-start.js'
import { type GivenHead, headerOf, kindOfHead, readHead } from './given-head.js'
import type { OriginalMethods } from './intercept.js'
import { LateHead } from './late-head.js'
import { NoTransformHeader } from './no-transform-header.js'
import type { RequestedStream } from './request.js'

/** The kind of response that a head announces; `held` until the first bytes of the body decide. */
export type HeadKind = 'stream' | 'opaque' | 'held' | 'other'

/** The status and the headers of a guarded response, from the first that is set until after they have been sent. */
export class ResponseHead {
  readonly #response: ServerResponse
  readonly #own: OriginalMethods
  readonly #subject: RequestedStream
  #uncompressed: NoTransformHeader | undefined
  /** Whether a head has been written that may be one of an event stream: the body decides. */
  isHeld = false
  /** The changes that the handler has made to the headers since they were sent. */
  late: LateHead | undefined
  /** The arguments of the handler's `writeHead`. */
  #written: readonly unknown[] | undefined
  /** The first bytes decide about the head that is written with them. */
  expected: 'stream' | 'opaque' | undefined

  constructor(response: ServerResponse, own: OriginalMethods, subject: RequestedStream) {
    this.#response = response
    this.#own = own
    this.#subject = subject
    this.settingsChanged()
  }

  /** Whether headers are completed is known, or has changed. */
  settingsChanged(): void {
    const isWanted = this.#subject.settings.writer.headers !== false
    if (!isWanted) this.#uncompressed?.undo()
    this.#uncompressed = isWanted
      ? (this.#uncompressed ?? new NoTransformHeader(this.#response, this.#own))
      : undefined
    // Another middleware may have said already that it will be a stream.
    const type = this.#response.getHeader('content-type')
    if (type !== undefined) this.headerSet('content-type', type)
  }

  headerSet(name: string, value: unknown): void {
    this.#uncompressed?.headerSet(name, value)
  }

  /** The handler writes its head, in whichever form. */
  written(args: readonly unknown[]): HeadKind {
    const head = readHead(args)
    const kind = this.expected ?? this.#kindOf(head)
    this.#written = args
    if (kind === 'stream' || kind === 'opaque' || kind === 'other') return kind
    // Over HTTP/2 the head is sent now, or never.
    if (this.#response.req.httpVersionMajor === 2) return 'other'
    this.isHeld = true
    this.#response.statusCode = head.status
    return 'held'
  }

  /**
   * The first bytes of a response whose head is held, or has not been written. Those of an event stream are one whatever the
   * head says: `fetch` decodes a body, and a handler that copies the headers says that it is still encoded.
   *
   * @returns `opaque` for an event stream that cannot be looked into, `json` for JSON under the name of one
   */
  begins(chunk: unknown): 'stream' | 'opaque' | 'json' | 'other' {
    const held = this.isHeld ? this.#written : undefined
    const kind = this.#kindOf(readHead(held ?? [this.#response.statusCode]))
    if (kind === 'other') return kind
    const isLines = this.#framing.name === 'ndjson'
    if (kind === 'stream') return !isLines && looksLikeJson(chunk) ? 'json' : kind
    if (isLines ? looksLikeJson(chunk) : beginsWithEvent(chunk)) return 'stream'
    if (kind === 'unknown') return 'other'
    warnOfCompressedStream()
    return 'opaque'
  }

  /**
   * Sends the head of an event stream.
   *
   * @param complete adds to the headers, once all that the handler has set are there
   * @throws what the app has hooked into it
   */
  send(isOpaque: boolean, complete: () => void): void {
    const args = this.#written ?? []
    this.isHeld = false
    if (isOpaque) this.#own.writeHead(...args)
    else {
      const given = readHead(args)
      this.#setGiven(given.headers.filter(([name]) => name.toLowerCase() !== 'content-encoding'))
      complete()
      this.#sendStreamHead(given)
    }
    this.late = new LateHead(this.#response)
  }

  /** Sets the headers that `writeHead` was given, beside those that the app has set. */
  #setGiven(headers: GivenHead['headers']): void {
    const response = this.#response
    // Hono's server sets a length past the headers: only removing the header keeps Node from sending it.
    for (const [name] of [['content-length'] as const, ...headers]) response.removeHeader(name)
    for (const [name, value] of headers) {
      // The original method, because the guard's own would look at the header once more.
      if (response.hasHeader(name)) response.appendHeader(name, value as string)
      else this.#own.setHeader(name, value)
    }
  }

  /** Completes the headers of an event stream, and sends them. */
  #sendStreamHead({ status, message }: GivenHead): void {
    const { writer } = this.#subject.settings
    completeHead(this.#response, writer, framingOf(this.#response.getHeader('content-type')))
    if (writer.headers !== false) setRequestId(this.#response, this.#subject.requestId)
    this.#own.writeHead(...(message === undefined ? [status] : [status, message]))
  }

  /** It is not an event stream: held bytes go out as they came. */
  release(): void {
    this.#uncompressed?.undo()
    const wasHeld = this.isHeld
    this.isHeld = false
    if (wasHeld && this.#written) this.#own.writeHead(...this.#written)
  }

  /** Of the head as it was written, which has not been sent. */
  get #framing(): Framing {
    const { headers } = readHead(this.#written ?? [])
    return framingOf(headerOf('content-type', this.#response, headers)) ?? framings.sse
  }

  #kindOf(head: GivenHead): ReturnType<typeof kindOfHead> {
    return kindOfHead(this.#response, head, this.#subject.isWanted)
  }
}
