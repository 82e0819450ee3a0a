import type { ServerResponse } from 'node:http'
import { shown } from '../errors/bad-input.js'
import { toStreamError } from '../errors/classify.js'
import { StreamError } from '../errors/stream-error.js'
import { encodeComment, type SSEEvent } from '../framing/sse/encode.js'
import { writers } from '../registry.js'
import { nextTurn, systemClock } from '../timeouts/clock.js'
import { StopSignal } from '../timeouts/stop-signal.js'
import { CatchingUp, ready } from './catching-up.js'
import { Heartbeat } from './heartbeat.js'
import { heartbeatText } from './heartbeat-form.js'
import { OutgoingText } from './outgoing-text.js'
import { closedAlready, disposed, endedElsewhere } from './refused-write.js'
import { backlogOf, discardUnreadBody, exactBacklogOf, isGone, wasLeft, watchPipelined } from './response.js'
import type { SSEWriter } from './sse-writer.js'
import type { WriterParts, WriterSettings } from './sse-writer-options.js'
import { HeadedWriter } from './writer-head.js'

const flushAtLength = 16 * 1024

/** Writes the events of one response, as the app sees it: `SSEWriter`. */
export class ResponseWriter extends HeadedWriter implements SSEWriter {
  readonly #response: ServerResponse
  readonly #settings: WriterSettings
  readonly #parts: WriterParts
  readonly #heartbeat: Heartbeat
  readonly #text: OutgoingText
  readonly #stopped = new StopSignal()
  #closed = false
  /** The client has left, and the stream goes on without it. */
  #isDetached = false
  readonly #catchingUp = new CatchingUp()

  constructor(response: ServerResponse, settings: WriterSettings, parts: WriterParts = {}) {
    super(response, settings, parts.observer)
    this.#response = response
    this.#settings = settings
    this.#parts = parts
    const { headersAfterMs: firstMs, heartbeatMs: everyMs } = settings
    this.#text = new OutgoingText(response, () => void this.#flush())
    this.#heartbeat = new Heartbeat(this.#beat, { firstMs, everyMs, clock: systemClock })
    response.on('close', this.#responseClosed).on('drain', this.#drained)
    writers().set(response, this)
    watchPipelined(response, this.#responseClosed)
    // A late error of a response that is gone must not end the process.
    response.on('error', () => {})
    parts.signal?.addEventListener('abort', this)
    if (isGone(response)) this.#responseClosed()
    else if (parts.signal?.aborted) this.handleEvent()
    else this.#heartbeat.start()
  }

  get signal(): AbortSignal {
    return this.#stopped.abortSignal
  }

  get closed(): boolean {
    return this.#closed || this.#stopped.aborted
  }

  get bytes(): number {
    return this.#text.bytes
  }

  get taken(): number {
    return this.#text.bytes - exactBacklogOf(this.#response)
  }

  open(): void {
    if (!this.closed && !this.#isAnswered() && this.#commit()) this.#response.flushHeaders?.()
  }

  write(given: SSEEvent | string): Promise<void> {
    const event = typeof given === 'string' ? { data: given } : given
    const text = this.encode(event)
    if (this.closed) return this.#refuse()
    if (event.id) this.sawId = true
    if (this.observer.onEvent?.(event) === false) return ready
    this.written(text, 1)
    return this.#push(text)
  }

  forward(events: Uint8Array | string, count = 1): Promise<void> {
    if (typeof events !== 'string' && !(events instanceof Uint8Array)) {
      throw new TypeError(`writer.forward() takes text or bytes, got ${shown(events)}`)
    }
    if (this.closed) return this.#refuse()
    if (isGone(this.#response)) {
      const gone = this.#gone()
      if (!this.#isDetached) return gone
    }
    try {
      return this.pass(events, count) ?? ready
    } catch (reason) {
      return this.#refuse(reason)
    }
  }

  /**
   * As `forward`, for a reader that forwards chunk by chunk, so that the writer hears of heartbeats and stops in between.
   *
   * @returns what to wait for
   * @throws why they are refused
   */
  pass(events: Uint8Array | string, count: number): Promise<void> | undefined {
    const response = this.#response
    if (this.#stopped.aborted || this.#closed) throw this.#refusal
    if (this.#isDetached) return this.written(events, count)
    if (response.writableEnded) throw endedElsewhere()
    if (!this.headersSent && (this.#isAnswered() || !this.#commit())) throw this.#refusal
    const { promise } = this.#catchingUp
    const waiting = promise ? backlogOf(response) + this.#text.pending + events.length : 0
    if (waiting > this.#settings.maxBufferedBytes) {
      this.#overflow()
      throw this.#refusal
    }
    if (this.events === 0) discardUnreadBody(response)
    this.written(events, count)
    this.#heartbeat.postpone()
    if (typeof events === 'string') this.#text.add(events)
    const more = typeof events === 'string' ? !promise && this.#hand() : this.#text.sendBytes(events)
    return promise ?? (more ? undefined : this.#wait())
  }

  comment(text: string): Promise<void> {
    const comment = encodeComment(text)
    // JSON lines have none.
    if (this.framing.name !== 'sse') return ready
    return this.closed ? this.#refuse() : this.#push(comment)
  }

  close(...given: (SSEEvent | string)[]): void {
    if (this.#closed) return
    const last = given.map((event) => (typeof event === 'string' ? { data: event } : event))
    const texts = last.map((event) => this.encode(event))
    const sent = texts.filter((_, at) => this.observer.onEvent?.(last[at] as SSEEvent) !== false)
    this.#heartbeat.stop()
    if (this.#isAnswered() || (!isGone(this.#response) && !this.#commit())) return
    this.#closed = true
    this.#parts.signal?.removeEventListener('abort', this)
    const text = sent.join('')
    this.written(text, sent.length)
    this.#text.add(text)
    this.#hand()
    if (!this.#catchingUp.promise) return
    this.observer.onDrainEnd?.()
    this.#catchingUp.end()
  }

  [Symbol.dispose](): void {
    this.#heartbeat.stop()
    this.#response.off('close', this.#responseClosed)
    this.#response.off('drain', this.#drained)
    if (this.#closed) this.#stopped.finish(disposed)
    else this.#stop(disposed())
    if (isGone(this.#response)) writers().delete(this.#response)
  }

  #push(text: string): Promise<void> {
    if (this.#isDetached) return ready
    this.#text.addInTurn(text)
    const { promise } = this.#catchingUp
    if (promise) return this.#text.pending > this.#settings.maxBufferedBytes ? this.#overflow() : promise
    return this.#text.pending >= flushAtLength ? this.#flush() : ready
  }

  /** @returns what a write has to wait for */
  #flush(): Promise<void> {
    if (this.#text.pending === 0 || this.#catchingUp.promise || this.#closed) return ready
    if (isGone(this.#response)) return this.#gone()
    if (this.#isAnswered() || !this.#commit()) return this.#refuse()
    this.#heartbeat.postpone()
    if (this.events > 0) discardUnreadBody(this.#response)
    return this.#hand() ? ready : this.#wait()
  }

  #wait(): Promise<void> {
    if (isGone(this.#response)) return this.#gone()
    this.#heartbeat.hold()
    this.observer.onDrainStart?.()
    return this.#catchingUp.start()
  }

  /** @returns whether the client keeps up */
  #hand(): boolean {
    return isGone(this.#response) || this.#text.send(this.#closed)
  }

  /** Other code has begun to respond: an event would only spoil its response. */
  #isAnswered(): boolean {
    if (!this.head.isForeign) return false
    this.#stop(new StreamError('internal', { message: 'Other code is already sending this response.' }))
    return true
  }

  /** @returns whether the head could be sent: the app's hooks in it may fail */
  #commit(): boolean {
    if (this.headersSent) return true
    try {
      this.head.send()
    } catch (error) {
      this.#lost(toStreamError(error))
      return false
    }
    this.#heartbeat.committed()
    this.observer.onHead?.()
    return true
  }

  readonly #beat = (): void => {
    const { heartbeat, heartbeatMs } = this.#settings
    const headers = this.#response.req?.headers ?? {}
    const text = heartbeatText(heartbeat, headers, this.observer.transcript ?? this)
    // Where nothing may be sent before the first event, the head waits for it as well.
    if (text === undefined || this.#isAnswered()) return
    if (heartbeatMs === Number.POSITIVE_INFINITY) return this.open()
    this.heartbeats++
    this.#text.add(text)
    this.#flush()
  }

  readonly #drained = (): void => {
    if (this.#closed) return void this.#hand()
    if (!this.#catchingUp.promise) return
    // Each piece that has left is a sign of life of the client.
    this.observer.onDrainEnd?.()
    this.#heartbeat.resume()
    if (this.#text.pending === 0 || this.#hand()) return this.#catchingUp.end()
    this.#heartbeat.hold()
    this.observer.onDrainStart?.()
  }

  #overflow(): Promise<never> {
    const message = `The client did not read: more than ${this.#settings.maxBufferedBytes} bytes were waiting for it.`
    const reason = new StreamError('client_stalled', { message })
    this.#stop(reason)
    // Not in the turn of the code that writes: see GuardOutput.
    setImmediate(() => this.observer.onDisconnect?.(reason))
    return this.#refuse()
  }

  readonly #responseClosed = (): void => {
    // No code asks for it any more, and what a WeakMap holds outlives the young generation.
    writers().delete(this.#response)
    // Once end() was called the response is complete as far as we are concerned, whichever side closes first.
    if (this.#closed) return this.#stopped.finish(disposed)
    if (!wasLeft(this.#response)) return this.#stop(endedElsewhere())
    if (this.#isDetached) return
    this.#isDetached = this.observer.onLeft?.() === true
    if (!this.#isDetached) return this.#lost(new StreamError('client_gone'))
    this.#heartbeat.stop()
    this.#text.drop()
    if (!this.#catchingUp.promise) return
    this.observer.onDrainEnd?.()
    this.#catchingUp.end()
  }

  /** The client cannot be reached any more. */
  #lost(reason: StreamError): void {
    this.#stop(reason)
    this.observer.onDisconnect?.(reason)
  }

  /** `options.signal` has aborted. */
  handleEvent(): void {
    this.#stop(this.#parts.signal?.reason)
  }

  #stop(reason: unknown): void {
    if (this.closed) return
    this.#heartbeat.stop()
    this.#parts.signal?.removeEventListener('abort', this)
    this.#catchingUp.giveUp(reason)
    this.#stopped.abort(reason)
  }

  /** Code that writes in a loop would never let the event loop report the close. */
  #gone(): Promise<void> {
    this.#text.drop()
    if (wasLeft(this.#response)) this.#responseClosed()
    return this.#stopped.aborted ? this.#refuse() : nextTurn()
  }

  get #refusal(): unknown {
    return this.#stopped.aborted ? this.#stopped.reason : closedAlready()
  }

  #refuse(reason = this.#refusal): Promise<never> {
    const refusal = Promise.reject(reason)
    // Handled already, so that one without an `await` cannot end the process.
    refusal.catch(() => {})
    return refusal
  }
}
