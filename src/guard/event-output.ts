// Imported: as a global, Buffer is an accessor, and this runs for each event.
import { Buffer } from 'node:buffer'
import type { ServerResponse } from 'node:http'
import { sendErrorBody } from '../client/error-response.js'
import { Heartbeat } from '../client/heartbeat.js'
import { heartbeatText } from '../client/heartbeat-form.js'
import { setRequestId } from '../client/request-id.js'
import { exactBacklogOf, writable } from '../client/response.js'
import { waitUntilFlushed } from '../client/stalled-client.js'
import { toStreamError } from '../errors/classify.js'
import { StreamError } from '../errors/stream-error.js'
import type { UpstreamError } from '../errors/upstream-error.js'
import { reportedError } from '../errors/upstream-report.js'
import { asBuffer } from '../framing/bytes.js'
import type { Follower, Framing } from '../framing/framing.js'
import { framings } from '../framing/framings.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import type { EventOutput } from '../stream/event-output.js'
import type { Exchange } from '../stream/exchange.js'
import { ResponseOutput } from '../stream/response-output.js'
import { systemClock, type Timer } from '../timeouts/clock.js'
import { holdsEvents, looksLikeJson, withoutMark } from './body-start.js'
import { ClientPace } from './client-pace.js'
import type { WatchedResponse } from './handle.js'
import { ignoreWrite, silenceHeaders, useOwnMethods } from './intercept.js'
import { MadeUpEnding } from './made-up-ending.js'
import { OpaqueBody } from './opaque-body.js'

/** The response that a handler writes its events to by itself, on their way to the client. */
export class GuardOutput extends ResponseOutput implements EventOutput {
  events = 0
  bytes = 0
  heartbeats = 0
  /** Whether the handler has begun an event stream. */
  committed = false
  readonly #parts: WatchedResponse
  readonly #pace: ClientPace
  readonly #madeUp: MadeUpEnding
  #exchange: Exchange | undefined
  #framing: Framing = framings.sse
  #follower: Follower | undefined
  #heartbeat: Heartbeat | undefined
  /** How many bytes of the handler's have been looked at. */
  #looked = 0
  #lookedBefore = 0
  /** Where the terminal event ends in them. */
  #endsAt: number | undefined
  #stopped = false
  #lingering: Timer | undefined
  #reason: StreamError | undefined
  /** What is wrong, until the stream has been ended for it. */
  #failure: StreamError | undefined
  /** What an upstream said of its own failure; the client has read it. */
  #reported: UpstreamError | undefined
  /** Whether the body is no stream that anything could be put into; `undefined` until it has begun. */
  #isOpaque: boolean | undefined
  readonly #opaque = new OpaqueBody()
  #isProven = false

  constructor(response: ServerResponse, parts: WatchedResponse) {
    super(response)
    this.#parts = parts
    this.#pace = new ClientPace(parts, () => this.taken())
    this.#madeUp = new MadeUpEnding(parts.calls)
  }

  /** The handler has begun an event stream. */
  begin(exchange: Exchange, isOpaque: boolean): void {
    const { settings } = this.#parts
    if (isOpaque) this.#isOpaque = true
    this.committed = true
    this.#exchange = exchange
    this.#framing = this.#parts.subject.framing
    this.#follower = this.#framing.follow(this.#observe, {
      skips: () => (this.#madeUp.isPossible ? undefined : exchange.transcript.skips()),
      onSkipped: this.#skipped,
      maxEventBytes: settings.maxEventBytes,
      // The guard forwards: it need not hold what it cannot look into.
      passesLarge: true,
    })
    const { heartbeatMs } = settings.writer
    const firstMs = Number.POSITIVE_INFINITY
    this.#heartbeat = new Heartbeat(this.#beat, { firstMs, everyMs: heartbeatMs, clock: systemClock })
    this.#heartbeat.committed()
    this.response.on('drain', this.#drained)
  }

  get isForeign(): boolean {
    return this.#isOpaque === true && !this.#reported
  }

  get status(): number | undefined {
    if (!this.response.headersSent) return undefined
    // What the handler sets later is not what the client has.
    return this.#parts.head.late?.status ?? this.response.statusCode
  }

  get sawTerminal(): boolean {
    return this.#exchange?.transcript.sawTerminal ?? false
  }

  /** Whether its dialect has a terminal event, which has not come. */
  get needsMore(): boolean {
    const transcript = this.#exchange?.transcript
    return transcript?.dialect.needsTerminal === true && !transcript.complete
  }

  /** Passes on what the handler writes. A failure found in it ends the stream. */
  pass(chunk: unknown, encoding?: unknown, callback?: unknown): boolean {
    const { own } = this.#parts
    if (this.sawTerminal || this.#failure) return ignoreWrite([encoding, callback])
    // Node says best what it does not take.
    if (typeof chunk !== 'string' && !(chunk instanceof Uint8Array))
      return own.write(chunk, encoding, callback)
    const given = asBuffer(chunk, encoding)
    const bytes = this.#isOpaque === undefined ? withoutMark(given) : given
    const failure = this.#look(bytes)
    this.#heartbeat?.postpone()
    const asGiven = typeof chunk === 'string' ? writable(this.response, chunk, encoding) : chunk
    // Nothing follows the terminal event, also not in the same write.
    const part = this.#endsAt === undefined ? bytes : bytes.subarray(0, this.#endsAt - this.#lookedBefore)
    this.bytes += part.length
    const more = own.write(part.length === given.length ? asGiven : part, encoding, callback)
    this.#exchange?.sent()
    if (failure) this.#fail(failure)
    else if (!more && !this.sawTerminal) this.#wait()
    return more
  }

  write(bytes: Uint8Array | string, events: number): undefined {
    this.events += events
    this.bytes += Buffer.byteLength(bytes)
    this.#parts.own.write(bytes)
    return undefined
  }

  /**
   * Whether what a handler ends with is of its stream. What has no line of one, such as a proxy's own sentence, is left out:
   * it says that the upstream has broken.
   */
  fits(chunk: unknown, encoding: string | undefined): boolean {
    if (this.#isOpaque || this.#follower?.gap === 'event') return true
    if (this.bytes === 0 && looksLikeJson(chunk)) return true
    return holdsEvents(chunk, encoding, this.#framing)
  }

  /**
   * The handler says that this was all: was it?
   *
   * @param isFailure whether it responds with a status or a text of its own: then its upstream has broken
   * @param isPiping whether it has been ended over the head of a source, which then is what has broken
   * @throws StreamError for an answer that is not complete
   */
  requireComplete(isFailure: boolean, isPiping: boolean): void {
    const { settings } = this.#parts
    const transcript = this.#exchange?.transcript
    if (isFailure && !transcript?.complete) throw new StreamError('upstream_hangup')
    if (this.#failure) throw this.#failure
    try {
      this.#follower?.end()
      if (this.#isOpaque && this.#reported) throw this.#reported
      if (settings.acceptsTruncated || this.#isOpaque) return
      if (transcript?.dialect.needsTerminal) transcript.requireComplete(this.events)
    } catch (error) {
      const isTruncated = toStreamError(error).outcome === 'upstream_truncated'
      throw isPiping && isTruncated ? new StreamError('upstream_hangup') : error
    }
  }

  end(events: readonly SSEEvent[]): void {
    const isSilent = this.#isOpaque || this.sawTerminal
    // What has begun is no event, unless something has to follow it.
    const isOpen = !isSilent && events.length > 0 && this.#follower?.gap === 'event'
    const closing = isOpen ? this.#framing.blockEnd : ''
    // What had begun is an event from here on, and counts.
    if (closing) this.#follower?.push(Buffer.from(closing))
    const text = isSilent
      ? ''
      : closing + events.map((each) => this.#exchange?.transcript.encode(each)).join('')
    this.#respondBy(() => void this.response.end(text === '' ? undefined : writable(this.response, text)))
    this.bytes += Buffer.byteLength(text)
    if (!isSilent) this.events += events.length
  }

  respond(reason: StreamError, message: string): void {
    const { subject, settings } = this.#parts
    const { requestId } = subject
    this.#respondBy(() => {
      if (settings.writer.headers !== false) setRequestId(this.response, requestId)
      const dialect = settings.dialect ?? subject.dialect
      sendErrorBody(this.response, reason, { message, dialect, requestId })
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
    this.#parts.over()
    return stalled ? 'stalled' : 'flushed'
  }

  /** How much the client has taken so far. */
  readonly taken = (): number => this.bytes - exactBacklogOf(this.response)

  /** @returns what is wrong with the stream from here on */
  #look(bytes: Buffer): StreamError | undefined {
    const { timeouts } = this.#parts
    this.#lookedBefore = this.#looked
    this.#looked += bytes.length
    if (bytes.length > 0) this.#isOpaque ??= this.#opaque.begins(bytes, this.#framing)
    this.#reported ??= this.#opaque.push(bytes)
    try {
      this.#madeUp.passed(this.#follower?.push(bytes))
    } catch (error) {
      return toStreamError(error)
    } finally {
      // What comes before the first event is the handler's own: a greeting, not yet the upstream.
      if (this.events === 0 && !this.#isOpaque) timeouts.wrote()
      else timeouts.touch()
    }
    return this.#follower?.failure ?? this.#madeUp.failure ?? (this.#isOpaque ? undefined : this.#reported)
  }

  readonly #observe = (event: SSEEvent, end: number): void => {
    const exchange = this.#exchange
    if (!exchange || this.sawTerminal || this.#reported || this.#madeUp.failure) return
    if (this.#madeUp.observe(event, end, exchange.transcript, this.#lookedBefore)) {
      this.#endsAt = this.#madeUp.startsAt
      return
    }
    this.events++
    const role = exchange.observe(event)
    if (this.#isProven !== exchange.transcript.isProven) {
      this.#isProven = true
      this.#parts.retime()
    }
    if (role === 'terminal') this.#endsAt = end
    if (role !== 'error') return
    this.#reported = reportedError(event.data)
    exchange.transcript.reportedToClient = true
  }

  readonly #skipped = (): void => {
    if (!this.#reported) this.events++
    if (this.#exchange) this.#exchange.transcript.tally.pieces++
    this.#parts.timeouts.content()
  }

  readonly #beat = (): void => {
    if (this.#stopped || this.#failure || this.#isOpaque || this.#follower?.gap === 'event') return
    const { transcript } = this.#exchange as Exchange
    const { heartbeat } = this.#parts.settings.writer
    const text = heartbeatText(heartbeat, this.response.req.headers, transcript)
    if (text === undefined) return
    this.heartbeats++
    this.bytes += Buffer.byteLength(text)
    if (!this.#parts.own.write(writable(this.response, text))) this.#wait()
  }

  /**
   * Not in the turn in which the handler reads: a signal that aborts while the last of an answer is being read
   * makes Node (20 to 26) emit an error on a kept socket that has no listener any more, and the process ends.
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
