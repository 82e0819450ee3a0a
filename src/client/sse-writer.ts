import type { SSEEvent } from '../framing/sse/encode.js'
import { allowManyListeners } from '../timeouts/many-listeners.js'
import { asServerResponse, type StreamResponse } from './response.js'
import { ResponseWriter } from './response-writer.js'
import { checkWriterOptions, type SSEWriterOptions } from './sse-writer-options.js'

/** Writes the events of one response; {@link createSSEWriter} makes one. */
export interface SSEWriter extends Disposable {
  /** Aborts when the client disconnects, something else ends the response, or `options.signal` aborts. */
  readonly signal: AbortSignal
  /** Whether the headers have been sent. */
  readonly headersSent: boolean
  /** Whether nothing more can be written: the writer was closed, or its client has left. */
  readonly closed: boolean
  /** Events written so far. */
  readonly events: number
  /** Bytes written so far. */
  readonly bytes: number
  /** Heartbeats written so far. */
  readonly heartbeats: number
  /** Sends the headers now. */
  open(): void
  /**
   * Writes one event. The promise resolves when the socket can take more, and rejects with the reason when the
   * stream has stopped. A rejection may be left unhandled. Events of one turn share one write.
   *
   * @throws TypeError for an event that cannot be encoded; nothing of it is written
   */
  write(event: SSEEvent | string): Promise<void>
  /**
   * Writes complete, already encoded events. They are not inspected; a terminal event does not end the stream.
   *
   * Settles as `write` does. Await it: the bytes are sent at once, whether or not the client keeps up.
   *
   * @param events bytes, or text to be sent as UTF-8
   */
  forward(events: Uint8Array | string): Promise<void>
  /** Writes a comment, which clients ignore; settles as `write` does. */
  comment(text: string): Promise<void>
  /** Ends the response with these last events, in one write. Later calls do nothing. */
  close(...last: (SSEEvent | string)[]): void
}

/**
 * Writes server-sent events to one response, with the right headers, heartbeats and backpressure.
 *
 * @param response a response whose headers have not been sent
 * @throws TypeError for a bad option, by name and value
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 * @example
 * const writer = createSSEWriter(response)
 * await writer.write({ event: 'progress', data: { percent: 50 } })
 * writer.close({ data: '[DONE]' })
 */
export function createSSEWriter(response: StreamResponse, options: SSEWriterOptions = {}): SSEWriter {
  const target = asServerResponse(response, 'createSSEWriter(response)')
  const settings = checkWriterOptions(options, ['signal'])
  allowManyListeners(options.signal)
  return new ResponseWriter(target, settings, options)
}
