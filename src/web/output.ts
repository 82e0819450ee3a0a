import { Heartbeat } from '../client/heartbeat.js'
import { heartbeatText } from '../client/heartbeat-form.js'
import { isTaken } from '../client/is-taken.js'
import type { WriterSettings } from '../client/sse-writer-options.js'
import type { Transcript } from '../dialects/transcript.js'
import { isStreamError, type StreamError } from '../errors/stream-error.js'
import { asBytes, byteLength } from '../framing/bytes.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import type { EventOutput } from '../stream/event-output.js'
import type { StreamRecording } from '../stream/resume-target.js'
import { systemClock } from '../timeouts/clock.js'
import type { StreamClock } from '../timeouts/stream-clock.js'
import { BodyStream } from './body-stream.js'
import { leftResponse } from './response-head.js'
import type { WebSubject } from './subject.js'

/** The parts of a stream that its output needs. */
export interface OutputParts {
  readonly clock: StreamClock
  readonly subject: WebSubject
  readonly writer: WriterSettings
  readonly transcript: Transcript
  /** Set for a stream that is recorded. */
  readonly recording: StreamRecording | undefined
  /** Makes the response of an event stream. */
  responseOf(body: ReadableStream<Uint8Array>): Response
  /** Makes the response of a failure before the first event. */
  errorOf(reason: StreamError, message: string): Response
  /** The headers of an event stream are on their way. */
  headSent(): void
  /** The client has left. */
  clientLeft(reason: unknown): void
}

/** A fetch response as the place where the events of a stream go. */
export class WebOutput implements EventOutput {
  events = 0
  bytes = 0
  heartbeats = 0
  status: number | undefined
  left = false
  /** Whether its body cannot be looked into. */
  isForeign = false
  /** The response to the client, once it is known. */
  sent: Response | undefined
  /** Settles with it. */
  readonly response: Promise<Response>
  readonly #parts: OutputParts
  readonly #heartbeat: Heartbeat
  readonly #body: BodyStream
  #resolve: (response: Response) => void = () => {}
  #stopped = false

  constructor(parts: OutputParts) {
    const { clock, writer } = parts
    this.#parts = parts
    this.response = new Promise((resolve) => {
      this.#resolve = resolve
    })
    const { heartbeatMs: everyMs, headersAfterMs: firstMs } = writer
    this.#heartbeat = new Heartbeat(this.#beat, { firstMs, everyMs, clock: systemClock })
    this.#body = new BodyStream({
      onBehind: () => {
        this.#heartbeat.hold()
        if (!this.#stopped) clock.drainStarted(this.#taken)
      },
      onCaughtUp: () => {
        this.#heartbeat.resume()
        if (!this.#stopped) clock.drainEnded()
      },
      onCancel: (reason) => this.leave(reason),
    })
  }

  get committed(): boolean {
    return this.status !== undefined
  }

  get gone(): boolean {
    return this.left || this.#body.isOver
  }

  /** The headers are sent at the first event, or after `headersAfterMs`. */
  holdHead(): void {
    this.#heartbeat.start()
  }

  /** Sends the headers of an event stream. */
  commit(): void {
    if (this.committed || this.left) return
    const response = this.#parts.responseOf(this.#body.readable)
    this.status = response.status
    this.#heartbeat.committed()
    this.#parts.headSent()
    this.#responded(response)
  }

  #responded(response: Response): void {
    this.sent = response
    this.#resolve(response)
  }

  write(bytes: Uint8Array | string, events: number): Promise<void> | undefined {
    if (this.#stopped || (this.gone && !this.#parts.recording?.isDetached)) return undefined
    this.commit()
    this.events += events
    this.#parts.recording?.append(bytes, events)
    this.#heartbeat.postpone()
    return this.left ? undefined : this.#send(bytes)
  }

  #send(text: Uint8Array | string): Promise<void> | undefined {
    this.bytes += byteLength(text)
    return this.#body.write(asBytes(text))
  }

  end(events: readonly SSEEvent[]): void {
    const text = this.isForeign ? '' : events.map((event) => this.#parts.transcript.encode(event)).join('')
    this.commit()
    if (!this.isForeign) this.events += events.length
    this.#parts.recording?.append(text, events.length)
    if (this.left) return
    this.bytes += byteLength(text)
    this.#body.end(asBytes(text))
  }

  respond(reason: StreamError, message: string): void {
    const response = this.#parts.errorOf(reason, message)
    this.status = response.status
    this.#body.end(new Uint8Array(0))
    this.#responded(response)
  }

  /** A server can cut nothing but a response. One that has none yet gets one that breaks off at once. */
  destroy(reason: Error): void {
    const isStalled = isStreamError(reason) && reason.outcome === 'client_stalled'
    if (!this.sent) this.#responded(this.#parts.responseOf(this.#body.readable))
    if (isStalled) this.#body.destroy(reason)
    else this.#body.breakOff(reason)
  }

  /** The client has left: nothing reaches it any more. */
  leave(reason: unknown): void {
    if (this.left) return
    this.left = true
    // A client that has the whole ending may go.
    if (this.#stopped) return
    const over = () => this.#parts.clientLeft(reason)
    if (!this.#parts.recording?.detach(over)) return over()
    this.#heartbeat.stop()
    this.#parts.clock.drainEnded()
    this.#body.release()
    if (!this.sent) this.#responded(leftResponse())
  }

  stop(): void {
    this.#stopped = true
    this.#heartbeat.stop()
    // From here on the flush watches the client.
    this.#parts.clock.drainEnded()
  }

  async flushed(): Promise<'flushed' | 'stalled'> {
    if (this.left) {
      if (!this.sent) this.#responded(leftResponse())
      this.#body.end(new Uint8Array(0))
      return 'flushed'
    }
    const { clientStallMs } = this.#parts.clock.timeouts
    const wasTaken = await isTaken(this.#body.done, { clientStallMs, taken: this.#taken })
    if (!wasTaken) this.#body.destroy(new Error('the client reads nothing'))
    return wasTaken ? 'flushed' : 'stalled'
  }

  readonly #taken = (): number => this.#body.taken

  readonly #beat = (): void => {
    if (this.#stopped || this.isForeign) return
    const { writer, subject, transcript } = this.#parts
    const text = heartbeatText(writer.heartbeat, subject.headers, transcript)
    // Where nothing may be sent before the first event, the headers wait for it as well.
    if (text === undefined) return
    this.commit()
    if (writer.heartbeatMs === Number.POSITIVE_INFINITY) return
    this.heartbeats++
    void this.#send(text)
  }
}
