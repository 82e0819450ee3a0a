import type { ServerResponse } from 'node:http'
import type { Framing, FramingName } from '../framing/framing.js'
import { framings } from '../framing/framings.js'
import { OtherNames } from './other-names.js'
import { completeHead, isStreamOf } from './response.js'
import type { WriterSettings } from './sse-writer-options.js'

/** The headers of a response that a writer fills. */
export class WriterHead {
  isSent = false
  /** How events are written. */
  framing: Framing
  #status = 200
  readonly #response: ServerResponse
  readonly #settings: WriterSettings

  constructor(response: ServerResponse, settings: WriterSettings) {
    this.#response = response
    this.#settings = settings
    this.framing = framings[settings.framing ?? 'sse']
  }

  /** Whether somebody has begun to respond with something else. */
  get isForeign(): boolean {
    return !this.isSent && this.#response.headersSent && !isStreamOf(this.framing, this.#response)
  }

  /** The response will have the status of this one, and its format unless that has been set. */
  follow({ status, framing }: { status: number | undefined; framing: Framing }): void {
    if (this.isSent) return
    // Of these a client expects no body, or only a part of one.
    if (status !== undefined && ![204, 205, 206].includes(status)) this.#status = status
    if (this.#settings.framing === undefined) this.framing = framing
  }

  /** @throws what the app has hooked into it */
  send(): void {
    if (!this.#response.headersSent) {
      completeHead(this.#response, this.#settings, this.framing)
      this.#response.writeHead(this.#status)
    }
    this.isSent = true
  }
}

/** What a writer says of its head. */
export abstract class HeadedWriter extends OtherNames {
  readonly head: WriterHead
  /** Whether an event had an id. */
  sawId = false

  constructor(response: ServerResponse, settings: WriterSettings) {
    super()
    this.head = new WriterHead(response, settings)
  }

  get headersSent(): boolean {
    return this.head.isSent
  }

  get framing(): Framing {
    return this.head.framing
  }

  get framingName(): FramingName {
    return this.head.framing.name
  }
}
