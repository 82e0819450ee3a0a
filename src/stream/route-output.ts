import type { ServerResponse } from 'node:http'
import { sendErrorBody } from '../client/error-response.js'
import type { ResponseWriter } from '../client/response-writer.js'
import type { WriterSettings } from '../client/sse-writer-options.js'
import { waitUntilFlushed } from '../client/stalled-client.js'
import type { StreamDialect } from '../dialects/dialect.js'
import type { StreamError } from '../errors/stream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import type { EventOutput } from './event-output.js'
import { ResponseOutput } from './response-output.js'

/** The parts that a route's output needs beside its writer. */
export interface RouteOutputOptions {
  readonly dialect: StreamDialect
  readonly requestId: string
  /** How the response is written. */
  readonly writer: WriterSettings
  /** How long the client may take without reading anything. */
  readonly clientStallMs: number
}

/** The response of a streaming route, written by a writer of ours. */
export class RouteOutput extends ResponseOutput implements EventOutput {
  readonly #writer: ResponseWriter
  readonly #options: RouteOutputOptions

  constructor(response: ServerResponse, writer: ResponseWriter, options: RouteOutputOptions) {
    super(response)
    this.#writer = writer
    this.#options = options
  }

  get committed(): boolean {
    return this.#writer.headersSent || this.#writer.events > 0
  }

  get isForeign(): boolean {
    return this.#writer.head.isForeign
  }

  get status(): number | undefined {
    return this.response.headersSent ? this.response.statusCode : undefined
  }

  get events(): number {
    return this.#writer.events
  }

  get bytes(): number {
    return this.#writer.bytes
  }

  get heartbeats(): number {
    return this.#writer.heartbeats
  }

  write(bytes: Uint8Array | string, events: number): Promise<void> | undefined {
    return this.#writer.pass(bytes, events)
  }

  end(events: readonly SSEEvent[]): void {
    this.#writer.close(...events)
    // The app's hooks in the headers may fail each time.
    if (!this.response.headersSent && !this.gone) throw new Error('the headers could not be sent')
  }

  respond(reason: StreamError, message: string): void {
    sendErrorBody(this.response, reason, { message, ...this.#options })
  }

  destroy(reason: Error): void {
    this.response.destroy(reason)
  }

  stop(): void {}

  async flushed(): Promise<'flushed' | 'stalled'> {
    const stalled = await waitUntilFlushed(this.response, {
      clientStallMs: this.#options.clientStallMs,
      taken: () => this.#writer.taken,
      destroy: (error) => this.response.destroy(error),
    })
    this.#writer[Symbol.dispose]()
    return stalled ? 'stalled' : 'flushed'
  }
}
