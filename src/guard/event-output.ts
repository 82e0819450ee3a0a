// Imported: as a global, Buffer is an accessor, and this runs for each event.
import { Buffer } from 'node:buffer'
import type { ServerResponse } from 'node:http'
import { asBuffer } from '../client/as-buffer.js'
import { sendErrorBody } from '../client/error-response.js'
import { Heartbeat } from '../client/heartbeat.js'
import { heartbeatText } from '../client/heartbeat-form.js'
import { setRequestId } from '../client/request-id.js'
import { exactBacklogOf, writable } from '../client/response.js'
import { waitUntilFlushed } from '../client/stalled-client.js'
import { attempt } from '../diagnostics/attempt.js'
import type { StreamError } from '../errors/stream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import type { EndedWith, EventOutput } from '../stream/event-output.js'
import type { Exchange } from '../stream/exchange.js'
import { ResponseOutput } from '../stream/response-output.js'
import { systemClock, type Timer } from '../timeouts/clock.js'
import { ClientPace } from './client-pace.js'
import type { WatchedResponse } from './handle.js'
import { ignoreWrite, silenceHeaders, useOwnMethods } from './intercept.js'
import { WrittenEvents } from './written-events.js'

/** The response that a handler writes its events to by itself, on their way to the client. */
export class GuardOutput extends ResponseOutput implements EventOutput {
  bytes = 0
  heartbeats = 0
  /** Whether the handler has begun an event stream. */
  committed = false
  readonly #parts: WatchedResponse
  readonly #pace: ClientPace
  #exchange: Exchange | undefined
  /** The events that the handler has written, once it has begun a stream. */
  written: WrittenEvents | undefined
  /** Events that the handler has not written. */
  #ownEvents = 0
  #heartbeat: Heartbeat | undefined
  #stopped = false
  #lingering: Timer | undefined
  #reason: StreamError | undefined
  /** The status of the error that was sent in the place of a stream. */
  #errorStatus: number | undefined
  /** The failure, until the stream has been ended for it. */
  #failure: StreamError | undefined

  constructor(response: ServerResponse, parts: WatchedResponse) {
    super(response)
    this.#parts = parts
    this.#pace = new ClientPace(parts, () => this.taken())
  }

  /** The handler has begun an event stream. */
  begin(exchange: Exchange, isOpaque: boolean): void {
    this.committed = true
    this.#exchange = exchange
    this.written = new WrittenEvents(this.#parts, exchange, isOpaque)
    const { heartbeatMs } = this.#parts.settings.writer
    const firstMs = Number.POSITIVE_INFINITY
    this.#heartbeat = new Heartbeat(this.#beat, { firstMs, everyMs: heartbeatMs, clock: systemClock })
    this.#heartbeat.committed()
    this.response.on('drain', this.#drained)
  }

  get events(): number {
    return this.#ownEvents + (this.written?.count ?? 0)
  }

  get isForeign(): boolean {
    return this.written?.isForeign === true
  }

  get status(): number | undefined {
    if (!this.response.headersSent) return undefined
    // The client has the status of now, not one that the handler sets later.
    return this.#parts.head.late?.status ?? this.#errorStatus ?? this.response.statusCode
  }

  get sawTerminal(): boolean {
    return this.#exchange?.transcript.sawTerminal ?? false
  }

  /** Passes on what the handler writes. A failure found in it ends the stream. */
  pass(chunk: unknown, encoding?: unknown, callback?: unknown): boolean {
    const { own } = this.#parts
    if (this.sawTerminal || this.#failure || !this.written) return ignoreWrite([encoding, callback])
    // Node says best what it does not take.
    if (typeof chunk !== 'string' && !(chunk instanceof Uint8Array))
      return own.write(chunk, encoding, callback)
    const given = asBuffer(chunk, encoding)
    const part = this.written.look(given)
    this.#heartbeat?.postpone()
    this.bytes += part.length
    const { recorded } = this.#parts
    if (this.isForeign) recorded?.giveUp()
    else recorded?.take(part, this.written.whole, this.written.count)
    const asGiven = typeof chunk === 'string' ? writable(this.response, chunk, encoding) : chunk
    const sent = part === given ? asGiven : part
    const more = recorded?.isDetached
      ? ignoreWrite([encoding, callback])
      : own.write(sent, encoding, callback)
    this.#exchange?.sent()
    if (this.written.failure) this.#fail(this.written.failure)
    else if (!more && !this.sawTerminal) this.#wait()
    return more
  }

  write(bytes: Uint8Array | string, events: number): undefined {
    this.#ownEvents += events
    this.bytes += Buffer.byteLength(bytes)
    this.#parts.own.write(bytes)
    return undefined
  }

  /**
   * The handler says that this was all: was it?
   *
   * @throws StreamError as `WrittenEvents.requireComplete`
   */
  requireComplete(isFailure: boolean, isPiping: boolean): void {
    if (this.#failure) throw this.#failure
    this.written?.requireComplete(isFailure, isPiping)
    const rest = this.written?.rest()
    if (!rest?.length) return
    const { recorded, own } = this.#parts
    this.bytes += rest.length
    recorded?.take(rest, this.written?.whole ?? 0, this.written?.count ?? 0)
    if (!recorded?.isDetached) own.write(rest)
  }

  end(events: readonly SSEEvent[], failure?: EndedWith): void {
    const more = this.written?.isOpaque || this.sawTerminal ? [] : events
    const closing = this.written?.close(more.length > 0) ?? ''
    const text = closing + more.map((each) => this.#exchange?.transcript.encode(each)).join('')
    const { recorded } = this.#parts
    if (!failure) recorded?.finish(text, (this.written?.count ?? 0) + more.length)
    if (!recorded?.isDetached)
      this.#respondBy(() => void this.response.end(text === '' ? undefined : writable(this.response, text)))
    this.bytes += Buffer.byteLength(text)
    this.#ownEvents += more.length
  }

  respond(reason: StreamError, message: string): void {
    const { subject, settings } = this.#parts
    const { requestId } = subject
    const { writer } = settings
    this.#respondBy(() => {
      // An error without those for CORS cannot be read by a page.
      for (const [name, value] of Object.entries(subject.prepared?.() ?? {}))
        if (this.response.getHeader(name) !== value)
          attempt(`the header ${name} is left out`, undefined, () => this.response.setHeader(name, value))
      if (writer.headers !== false) setRequestId(this.response, requestId)
      const dialect = settings.dialect ?? subject.dialect
      sendErrorBody(this.response, reason, { message, dialect, requestId, writer })
      this.#errorStatus = reason.status
    })
  }

  /** Below whatever else stands in front of the response; the handler, which does not know, is kept from harm. */
  #respondBy(use: () => void): void {
    useOwnMethods(this.response, this.#parts.own, use)
    if (this.#reason) silenceHeaders(this.response)
    // A handler that waits for its client waits in vain.
    setImmediate(() => this.response.emit('drain'))
  }

  destroy(reason: Error): void {
    this.#parts.own.destroy(reason)
  }

  stop(reason?: StreamError): void {
    this.#reason = reason
    this.#quiet()
    systemClock.clearTimeout(this.#lingering)
    this.#parts.closed()
  }

  /** The client has all of it, but its source may still end by itself within `lingerMs`. */
  linger(lingerMs: number, callback: () => void): void {
    this.#quiet()
    this.#lingering = systemClock.setTimeout(callback, lingerMs)
  }

  /** Nothing more is looked at or sent in between. */
  #quiet(): void {
    this.#stopped = true
    this.#heartbeat?.stop()
    this.response.off('drain', this.#drained)
    // From here on the flush watches the client.
    this.#parts.timeouts.drainEnded()
  }

  async flushed(): Promise<'flushed' | 'stalled'> {
    const { clientStallMs } = this.#parts.timeouts.timeouts
    const destroy = (error: Error) => void this.#parts.own.destroy(error)
    const stalled = await waitUntilFlushed(this.response, { clientStallMs, taken: this.taken, destroy })
    this.#parts.recorded?.release(this.#reason === undefined)
    this.#parts.over()
    return stalled ? 'stalled' : 'flushed'
  }

  /** How much the client has taken so far. */
  readonly taken = (): number => this.bytes - exactBacklogOf(this.response)

  readonly #beat = (): void => {
    const { recorded } = this.#parts
    if (this.#stopped || this.#failure || this.written?.mayNotBeCut || recorded?.isDetached) return
    const { transcript } = this.#exchange as Exchange
    const { heartbeat } = this.#parts.settings.writer
    const text = heartbeatText(heartbeat, this.response.req.headers, transcript)
    if (text === undefined) return
    this.heartbeats++
    this.bytes += Buffer.byteLength(text)
    if (!this.#parts.own.write(writable(this.response, text))) this.#wait()
  }

  /**
   * Not in the turn in which the handler reads: a signal that aborts while the last of a response is being read
   * makes Node (20 to 26) emit an error on a keep-alive socket that has no listener any more, and the process ends.
   */
  #fail(reason: StreamError): void {
    this.#failure ??= reason
    setImmediate(() => this.#exchange?.fail(this.#failure))
  }

  #wait(): void {
    this.#heartbeat?.hold()
    const reason = this.#pace.fellBehind()
    if (reason) this.#fail(reason)
  }

  readonly #drained = (): void => {
    this.#heartbeat?.resume()
    this.#pace.caughtUp()
  }
}
