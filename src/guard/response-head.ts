import type { ServerResponse } from 'node:http'
import { warnOnce } from '../diagnostics/channels.js'
import { beginsWithEvent } from './body-start.js'
import { type GivenHead, kindOfHead, readHead, sendStreamHead, setGivenHeaders } from './given-head.js'
import type { OriginalMethods } from './intercept.js'
import { LateHead } from './late-head.js'
import { NoTransformHeader } from './no-transform-header.js'
import type { GuardSettings, RequestedStream } from './request.js'

/** What a head makes of its response; `held` until the first bytes of the body say more. */
export type HeadKind = 'stream' | 'held' | 'other'

/** The status and the headers of a guarded response, from the first that is set until after they have been sent. */
export class ResponseHead {
  readonly #response: ServerResponse
  readonly #own: OriginalMethods
  readonly #settings: GuardSettings
  readonly #subject: RequestedStream
  readonly #uncompressed: NoTransformHeader | undefined
  /** A head that may be one of an event stream, and the arguments it came with. */
  #held: { head: GivenHead; args: readonly unknown[] } | undefined
  #head: GivenHead | undefined
  #late: LateHead | undefined

  constructor(
    response: ServerResponse,
    own: OriginalMethods,
    settings: GuardSettings,
    subject: RequestedStream,
  ) {
    this.#response = response
    this.#own = own
    this.#settings = settings
    this.#subject = subject
    if (settings.writer.headers === false) return
    this.#uncompressed = new NoTransformHeader(response, own)
    // Another middleware may have said already that it will be a stream.
    const type = response.getHeader('content-type')
    if (type !== undefined) this.headerSet('content-type', type)
  }

  /** What the handler has said of the headers since they were sent. */
  get late(): LateHead | undefined {
    return this.#late
  }

  get isHeld(): boolean {
    return this.#held !== undefined
  }

  headerSet(name: string, value: unknown): void {
    this.#uncompressed?.headerSet(name, value)
  }

  /** The handler writes its head, in whichever form. */
  written(args: readonly unknown[]): HeadKind {
    const head = readHead(args)
    const kind = this.#kindOf(head)
    if (kind === 'stream') this.#head = head
    const isHeld = kind === 'compressed' || kind === 'unknown'
    this.#held = isHeld ? { head, args } : undefined
    return isHeld ? 'held' : kind
  }

  /** What the head will be that the first bytes bring with them. */
  get implicitKind(): ReturnType<typeof kindOfHead> {
    return this.#kindOf({ status: this.#response.statusCode, message: undefined, headers: [] })
  }

  /**
   * The first bytes of a response whose head is held. Those of an event stream are one whatever its head says: `fetch`
   * decodes a body, and a handler that copies the headers says that it is still encoded.
   *
   * @returns `opaque` for an event stream that nobody can look into
   */
  heldBegins(chunk: unknown): 'stream' | 'opaque' | 'other' {
    const head = this.#held?.head
    if (!head) return 'other'
    const isCompressed = this.#kindOf(head) === 'compressed'
    const isEvents = beginsWithEvent(chunk)
    if (!isCompressed && !isEvents) return 'other'
    this.#head = head
    if (isEvents) {
      head.headers = head.headers.filter(([name]) => name.toLowerCase() !== 'content-encoding')
      this.#response.removeHeader('content-encoding')
      return 'stream'
    }
    warnOnce('a compressed event stream passes the guard: it cannot report errors in it, and cuts it instead')
    return 'opaque'
  }

  /** Sends the head of an event stream. @throws what the app has hooked into it */
  send(): void {
    const head = this.#head as GivenHead
    this.#held = undefined
    setGivenHeaders(this.#response, this.#own, head.headers)
    sendStreamHead(this.#response, this.#own, head, this.#settings, this.#subject.requestId)
    this.#late = new LateHead(this.#response)
  }

  /** It is no event stream: what is held goes out as it came. */
  release(): void {
    this.#uncompressed?.undo()
    const args = this.#held?.args
    this.#held = undefined
    if (args) this.#own.writeHead(...args)
  }

  #kindOf(head: GivenHead): ReturnType<typeof kindOfHead> {
    return kindOfHead(this.#response, head, this.#subject.isWanted)
  }
}
