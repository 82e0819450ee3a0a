// Imported: as a global, Buffer is an accessor, and this runs for each event.
import { Buffer } from 'node:buffer'
import type { ServerResponse } from 'node:http'
import process from 'node:process'
import { toStreamError } from '../errors/classify.js'
import { StreamError } from '../errors/stream-error.js'
import { encodeComment, encodeEvent, heartbeat, type SSEEvent } from '../framing/sse/encode.js'
import { writers } from '../registry.js'
import { nextTurn, systemClock } from '../timeouts/clock.js'
import { Heartbeat } from './heartbeat.js'
import {
  asServerResponse,
  backlogOf,
  type Drain,
  discardUnreadBody,
  isEventStream,
  isGone,
  ready,
  type StreamResponse,
  startDrain,
  wasLeft,
  watchPipelined,
  writable,
  writeEventStreamHead,
} from './response.js'
import { checkWriterOptions, type SSEWriterObserver, type SSEWriterOptions } from './sse-writer-options.js'

/** Writes the events of one response; what {@link createSSEWriter} makes. */
export interface SSEWriter extends Disposable {
  /** Aborts when the client disconnects, something else ends the response, or `options.signal` aborts; its reason says why. */
  readonly signal: AbortSignal
  /** Whether the head has been sent. */
  readonly committed: boolean
  /** Events written so far. */
  readonly events: number
  /** Bytes written so far. */
  readonly bytes: number
  /** Heartbeats written so far. */
  readonly heartbeats: number
  /** How many bytes have left this process for the client. */
  readonly taken: number
  /** Sends the head now. */
  open(): void
  /**
   * Writes one event. The promise resolves when the socket can take more and rejects with the reason when the
   * stream has stopped; it always settles, and may be left alone. Events of one turn share one write.
   *
   * @throws TypeError for an event that cannot be encoded; nothing of it is written
   */
  write(event: SSEEvent): Promise<void>
  /**
   * Sends what is whole events already, as it is, in one write. Settles as `write` does; wait for it: bytes go out at
   * once, whether or not the client has caught up. Nobody looks at what the events say: not even at a terminal one.
   *
   * @param events bytes, or text to be sent as UTF-8
   * @param count how many they are; default 1
   */
  forward(events: Uint8Array | string, count?: number): Promise<void>
  /** Writes a comment, which clients ignore; settles as `write` does. */
  comment(text: string): Promise<void>
  /** Ends the response with these last events, in one write. Later calls do nothing. */
  close(...last: SSEEvent[]): void
}

const flushAtLength = 16 * 1024
const longestPiece = 64 * 1024

/**
 * Writes server-sent events to one response: head, events, heartbeats, backpressure, and word of the client
 * leaving.
 *
 * @param response a response whose head is unsent
 * @throws TypeError for a bad option, by name and value
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
export function createSSEWriter(response: StreamResponse, options: SSEWriterOptions = {}): SSEWriter {
  return new ResponseWriter(response, options)
}

class ResponseWriter implements SSEWriter {
  events = 0
  bytes = 0
  heartbeats = 0
  committed = false
  readonly #response: ServerResponse
  readonly #options: SSEWriterOptions
  readonly #observer: SSEWriterObserver
  readonly #heartbeat: Heartbeat
  readonly #maxBufferedBytes: number
  readonly #beats: boolean
  #controller: AbortController | undefined
  /** Made when it is asked for: most writers stop because all is done. */
  #stopReason: () => unknown = ignore
  #stopped = false
  #closed = false
  #pending = ''
  #flushScheduled = false
  #draining: Drain | undefined

  constructor(response: StreamResponse, options: SSEWriterOptions) {
    const { commitAfterMs, heartbeatMs, maxBufferedBytes } = checkWriterOptions(options)
    this.#response = asServerResponse(response)
    this.#options = options
    this.#observer = options.observer ?? {}
    this.#maxBufferedBytes = maxBufferedBytes
    this.#beats = heartbeatMs !== Number.POSITIVE_INFINITY
    this.#heartbeat = new Heartbeat(this.#beat, {
      firstMs: commitAfterMs,
      everyMs: heartbeatMs,
      clock: options.clock ?? systemClock,
    })
    response.on('close', this.#responseClosed)
    response.on('drain', this.#drained)
    writers().set(response, this)
    watchPipelined(this.#response, this.#responseClosed)
    // A late error of a response that is gone must not end the process.
    response.on('error', ignore)
    options.signal?.addEventListener('abort', this)
    if (isGone(this.#response)) this.#responseClosed()
    else if (options.signal?.aborted) this.handleEvent()
    else this.#heartbeat.start()
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController()
      if (this.#stopped) this.#controller.abort(this.#stopReason())
    }
    return this.#controller.signal
  }

  get taken(): number {
    return this.bytes - backlogOf(this.#response)
  }

  /** How much has not left this process. */
  get #waiting(): number {
    return backlogOf(this.#response) + this.#pending.length
  }

  open(): void {
    if (this.#stopped || this.#closed) return
    if (!this.#isAnswered() && this.#commit()) this.#response.flushHeaders?.()
  }

  write(event: SSEEvent): Promise<void> {
    const text = encodeEvent(event)
    if (this.#stopped || this.#closed) return this.#refuse()
    if (this.#observer.onEvent?.(event) === false) return ready
    this.events++
    return this.#push(text)
  }

  forward(events: Uint8Array | string, count = 1): Promise<void> {
    if (this.#stopped || this.#closed) return this.#refuse()
    const response = this.#response
    if (isGone(response)) return this.#gone()
    if (!this.committed && (this.#isAnswered() || !this.#commit())) return this.#refuse()
    if (this.#draining && this.#waiting + events.length > this.#maxBufferedBytes) {
      this.#overflow()
      return this.#refuse()
    }
    if (this.events === 0) discardUnreadBody(response)
    this.events += count
    this.#heartbeat.postpone()
    const more = typeof events === 'string' ? this.#writeText(events) : this.#writeBytes(events)
    this.#letGo()
    if (this.#draining) return this.#draining.promise
    return more ? ready : this.#wait()
  }

  #writeText(text: string): boolean {
    if (this.#draining) {
      this.#pending += text
      return false
    }
    if (this.#pending !== '' || text.length > longestPiece) {
      this.#pending += text
      return this.#hand()
    }
    return this.#send(text)
  }

  #writeBytes(bytes: Uint8Array): boolean {
    // What was written before comes before, whether or not the client has caught up.
    if (this.#pending !== '') this.#send(this.#takeAll())
    this.bytes += bytes.length
    if (bytes.length <= longestPiece) return this.#response.write(bytes)
    let more = true
    for (let at = 0; at < bytes.length; at += longestPiece) {
      more = this.#response.write(bytes.subarray(at, at + longestPiece))
    }
    return more
  }

  comment(text: string): Promise<void> {
    if (this.#stopped || this.#closed) return this.#refuse()
    return this.#push(encodeComment(text))
  }

  close(...last: SSEEvent[]): void {
    if (this.#closed) return
    const text = last.map(encodeEvent).join('')
    const events = last.filter((event) => this.#observer.onEvent?.(event) !== false).length
    this.#heartbeat.stop()
    if (this.#isAnswered() || (!isGone(this.#response) && !this.#commit())) return
    this.#closed = true
    this.events += events
    if (events > 0 || last.length === 0) this.#pending += text
    this.#hand()
    this.#endDrain()
  }

  [Symbol.dispose](): void {
    this.#heartbeat.stop()
    this.#response.off('close', this.#responseClosed)
    this.#response.off('drain', this.#drained)
    this.#stop(() => new StreamError('aborted', { message: 'The writer was disposed.' }))
    if (isGone(this.#response)) this.#leave()
  }

  /** Nobody asks for it any more, and what a WeakMap holds outlives the young generation. */
  #leave(): void {
    writers().delete(this.#response)
  }

  #push(text: string): Promise<void> {
    this.#pending += text
    if (this.#draining) {
      if (this.#pending.length <= this.#maxBufferedBytes) return this.#draining.promise
      this.#overflow()
      return this.#refuse()
    }
    if (this.#pending.length >= flushAtLength) return this.#flush()
    if (!this.#flushScheduled) {
      this.#flushScheduled = true
      process.nextTick(ResponseWriter.#flushLater, this)
    }
    return ready
  }

  static #flushLater(writer: ResponseWriter): void {
    writer.#flushScheduled = false
    writer.#flush()
  }

  /** @returns what a write has to wait for */
  #flush(): Promise<void> {
    if (this.#pending === '' || this.#draining || this.#closed) return ready
    if (isGone(this.#response)) return this.#gone()
    if (this.#isAnswered() || !this.#commit()) return this.#refuse()
    this.#heartbeat.postpone()
    if (this.events > 0) discardUnreadBody(this.#response)
    return this.#hand() ? ready : this.#wait()
  }

  #wait(): Promise<void> {
    if (isGone(this.#response)) return this.#gone()
    const draining = startDrain()
    this.#draining = draining
    this.#heartbeat.hold()
    this.#observer.onDrainStart?.()
    return draining.promise
  }

  /**
   * Hands the response what waits, in pieces: of one large write nobody could see how far the client has come.
   *
   * @returns whether the client keeps up
   */
  #hand(): boolean {
    const response = this.#response
    if (isGone(response)) return true
    let more = true
    while (more && this.#pending.length > longestPiece) {
      // Not between the halves of a surrogate pair.
      const code = this.#pending.charCodeAt(longestPiece - 1)
      more = this.#send(this.#take(code >= 0xd800 && code < 0xdc00 ? longestPiece - 1 : longestPiece))
    }
    if (!more) return false
    const rest = this.#takeAll()
    if (this.#closed) {
      this.bytes += Buffer.byteLength(rest)
      response.end(writable(response, rest))
    } else if (rest !== '') more = this.#send(rest)
    this.#letGo()
    return more
  }

  #send(text: string): boolean {
    const length = Buffer.byteLength(text)
    this.bytes += length
    // Node would measure a text again before it encodes it: ASCII needs neither, anything else is encoded here, once.
    if (length > text.length) return this.#response.write(Buffer.from(text))
    return this.#response.write(writable(this.#response, text), 'latin1')
  }

  /** compression() keeps what it is given until it is told to. */
  #letGo(): void {
    const { flush } = this.#response as { flush?: unknown }
    if (typeof flush === 'function') flush.call(this.#response)
  }

  #takeAll(): string {
    const text = this.#pending
    this.#pending = ''
    return text
  }

  #take(length: number): string {
    const text = this.#pending.slice(0, length)
    this.#pending = this.#pending.slice(length)
    return text
  }

  /** Somebody has begun to answer with something else: an event would only spoil it. */
  #isAnswered(): boolean {
    if (this.committed || !this.#response.headersSent || isEventStream(this.#response)) return false
    this.#stop(() => new StreamError('internal', { message: 'The response is being answered otherwise.' }))
    return true
  }

  /** @returns whether the head could be sent: what the app has hooked into it may fail */
  #commit(): boolean {
    if (this.committed) return true
    try {
      if (!this.#response.headersSent) writeEventStreamHead(this.#response, this.#options)
    } catch (error) {
      const reason = toStreamError(error)
      this.#stop(() => reason)
      this.#observer.onDisconnect?.(reason)
      return false
    }
    this.committed = true
    this.#heartbeat.committed()
    this.#observer.onHead?.()
    return true
  }

  readonly #beat = (): void => {
    if (!this.#beats) return this.open()
    if (this.#isAnswered()) return
    this.heartbeats++
    const event = this.#options.heartbeat === 'empty-delta' ? this.#observer.emptyDelta?.() : undefined
    this.#pending += event ? encodeEvent(event) : heartbeat
    this.#flush()
  }

  readonly #drained = (): void => {
    if (this.#closed) {
      this.#hand()
      return
    }
    const draining = this.#draining
    if (!draining) return
    // Each piece that has left is a sign of life of the client.
    this.#observer.onDrainEnd?.()
    this.#draining = undefined
    this.#heartbeat.resume()
    if (this.#pending === '' || this.#hand()) draining.resolve()
    else {
      this.#draining = draining
      this.#heartbeat.hold()
      this.#observer.onDrainStart?.()
    }
  }

  #endDrain(): void {
    const draining = this.#draining
    if (!draining) return
    this.#draining = undefined
    this.#observer.onDrainEnd?.()
    draining.resolve()
  }

  #overflow(): void {
    const message = `The client did not read: more than ${this.#maxBufferedBytes} bytes were waiting for it.`
    const reason = new StreamError('client_stalled', { message })
    this.#stop(() => reason)
    // Not in the turn of whoever writes: see GuardedEvents.
    setImmediate(() => this.#observer.onDisconnect?.(reason))
  }

  readonly #responseClosed = (): void => {
    this.#leave()
    // Once end() was called the response is complete as far as we are concerned, whoever closes first.
    if (this.#closed || this.#stopped) return this.#stop(() => new StreamError('client_gone'))
    if (!wasLeft(this.#response)) {
      return this.#stop(() => new StreamError('internal', { message: 'The response was ended elsewhere.' }))
    }
    const reason = new StreamError('client_gone')
    this.#stop(() => reason)
    this.#observer.onDisconnect?.(reason)
  }

  /** `options.signal` has aborted. */
  handleEvent(): void {
    this.#stop(() => this.#options.signal?.reason)
  }

  #stop(reason: () => unknown): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#stopReason = once(reason)
    this.#heartbeat.stop()
    this.#options.signal?.removeEventListener('abort', this)
    const draining = this.#draining
    this.#draining = undefined
    draining?.reject(this.#stopReason())
    this.#controller?.abort(this.#stopReason())
  }

  /** Who writes in a loop would never let the event come that says so. */
  #gone(): Promise<void> {
    this.#pending = ''
    if (wasLeft(this.#response)) this.#responseClosed()
    return this.#stopped ? this.#refuse() : nextTurn()
  }

  /** Handled already, so that a write nobody awaits cannot end the process. */
  #refuse(): Promise<never> {
    const reason = this.#stopped
      ? this.#stopReason()
      : new StreamError('internal', { message: 'The stream has been closed.' })
    const refusal = Promise.reject(reason)
    refusal.catch(ignore)
    return refusal
  }
}

function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}

function ignore(): void {}
