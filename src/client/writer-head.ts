import type { ServerResponse } from 'node:http'
import type { Framing, FramingName } from '../framing/framing.js'
import { framings } from '../framing/framings.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import { OtherNames } from './other-names.js'
import { completeHead, framingSent } from './response.js'
import type { SSEWriterObserver, WriterSettings } from './sse-writer-options.js'

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

  /** Whether other code has begun to respond. */
  get isForeign(): boolean {
    return (
      !this.isSent && this.#response.headersSent && framingSent(this.#response)?.name !== this.framing.name
    )
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

/** A writer's view of its head, and of its written bytes. */
export abstract class HeadedWriter extends OtherNames {
  events = 0
  heartbeats = 0
  readonly head: WriterHead
  protected readonly observer: SSEWriterObserver
  /** Whether an event had an id. */
  sawId = false

  constructor(response: ServerResponse, settings: WriterSettings, observer: SSEWriterObserver = {}) {
    super()
    this.head = new WriterHead(response, settings)
    this.observer = observer
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

  /** The wire text of one event. */
  encode(event: SSEEvent): string {
    return this.observer.transcript?.encode(event) ?? this.framing.encode(event)
  }

  /** These are on their way. */
  protected written(events: Uint8Array | string, count: number): undefined {
    this.events += count
    this.observer.onWritten?.(events, count)
  }
}
