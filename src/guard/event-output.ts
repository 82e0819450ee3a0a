// Imported: as a global, Buffer is an accessor, and this runs for each event.
import { Buffer } from 'node:buffer'
import type { ServerResponse } from 'node:http'
import { requestPath } from '../client/error-response.js'
import { Heartbeat } from '../client/heartbeat.js'
import { backlogOf, writable } from '../client/response.js'
import { checkWriterOptions } from '../client/sse-writer-options.js'
import { dialectOfHead, recognizeDialect, selectDialect } from '../dialects/index.js'
import { Transcript } from '../dialects/transcript.js'
import { toStreamError } from '../errors/classify.js'
import { StreamError, type UpstreamError } from '../errors/stream-error.js'
import { reportedError } from '../errors/upstream-report.js'
import { asBuffer } from '../framing/bytes.js'
import type { Follower } from '../framing/framing.js'
import { encodeEvent, heartbeat, type SSEEvent } from '../framing/sse/encode.js'
import { sse } from '../framing/sse/index.js'
import type { StreamOptions } from '../stream/settings.js'
import { systemClock } from '../timeouts/clock.js'
import type { TimeoutCoordinator } from '../timeouts/timeout-coordinator.js'
import { ignoreWrite, type OriginalMethods } from './intercept.js'

/** The event stream that a handler writes to its response by itself, on its way to the client. */
export class GuardedEvents {
  readonly followed: Transcript
  readonly written = { events: 0, bytes: 0, heartbeats: 0 }
  readonly #response: ServerResponse
  readonly #own: OriginalMethods
  readonly #timeouts: TimeoutCoordinator
  readonly #options: StreamOptions
  readonly #follower: Follower
  /** What an upstream said of its own failure; the client has read it. */
  #reported: UpstreamError | undefined
  readonly #heartbeat: Heartbeat
  readonly #maxBufferedBytes: number
  #stopped = false
  /** What is wrong, until the stream has been ended for it. */
  #failure: StreamError | undefined
  /** A JSON document under the name of an event stream: nothing is put into it. */
  #isJson: boolean | undefined

  constructor(
    response: ServerResponse,
    own: OriginalMethods,
    timeouts: TimeoutCoordinator,
    options: StreamOptions,
  ) {
    this.#response = response
    this.#own = own
    this.#timeouts = timeouts
    this.#options = options
    const dialect = selectDialect(options.dialect ?? dialectOfHead(response), requestPath(response))
    this.followed = new Transcript(dialect, options.dialect ? undefined : recognizeDialect)
    this.#follower = sse.follow(this.#observe, {
      skips: this.followed.skips,
      onSkipped: this.#skipped,
      maxEventBytes: options.relay?.maxEventBytes,
    })
    const { heartbeatMs, maxBufferedBytes } = checkWriterOptions(options.writer ?? {})
    this.#maxBufferedBytes = maxBufferedBytes
    const firstMs = Number.POSITIVE_INFINITY
    this.#heartbeat = new Heartbeat(this.#beat, { firstMs, everyMs: heartbeatMs, clock: systemClock })
    this.#heartbeat.committed()
    response.on('drain', this.#drained)
  }

  /** Passes on what the handler writes. A failure found in it settles the stream. */
  write(chunk: unknown, encoding?: unknown, callback?: unknown): boolean {
    if (this.followed.sawTerminal || this.#failure) return ignoreWrite([encoding, callback])
    // Node says best what it does not take.
    if (typeof chunk !== 'string' && !(chunk instanceof Uint8Array))
      return this.#own.write(chunk, encoding, callback)
    const failure = this.#look(chunk, encoding)
    this.#heartbeat.postpone()
    const more = this.#own.write(this.#writable(chunk, encoding), encoding, callback)
    if (failure) this.#fail(failure)
    else if (!more && !this.followed.sawTerminal) this.#wait()
    return more
  }

  #writable(chunk: string | Uint8Array, encoding: unknown): string | Uint8Array {
    if (typeof chunk !== 'string') return chunk
    return writable(
      this.#response,
      chunk,
      typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8',
    )
  }

  /** Whether this could be a piece of an event stream; what else a handler ends with, say a proxy, is left out. */
  fits(chunk: unknown): boolean {
    if (this.#isJson || this.#follower.gap === 'event') return true
    if (this.written.bytes === 0 && looksLikeJson(chunk)) return true
    const start =
      typeof chunk === 'string' ? chunk : Buffer.from(chunk as Uint8Array).toString('latin1', 0, 16)
    return /^\ufeff?(?:\s|:|data|event|id|retry|$)/.test(start)
  }

  /**
   * The handler says that this was all: was it?
   *
   * @throws StreamError for an answer that is not complete
   */
  requireComplete(): void {
    if (this.#failure) throw this.#failure
    this.#follower.end()
    const isCutAnyway = this.#options.recovery === false || this.#options.relay?.onTruncated === 'accept'
    if (isCutAnyway || this.#isJson || !this.followed.dialect.needsTerminal) return
    this.followed.requireComplete(this.written.events)
  }

  /** Ends the response with these events, in one write, after the end of the event that has begun. */
  end(events: readonly SSEEvent[]): void {
    const { sawTerminal } = this.followed
    const closing = !sawTerminal && this.#follower.gap === 'event' ? '\n\n' : ''
    const text = this.#isJson || sawTerminal ? '' : closing + events.map(encodeEvent).join('')
    this.written.bytes += Buffer.byteLength(text)
    if (text === '') this.#own.end()
    else this.#own.end(writable(this.#response, text))
  }

  /** Whether this is no event stream at all, whatever its head says: it can only be cut. */
  get isJson(): boolean {
    return this.#isJson === true
  }

  /** Nothing more is looked at or sent in between. */
  stop(): void {
    this.#stopped = true
    this.#heartbeat.stop()
    this.#response.off('drain', this.#drained)
  }

  /** How much the client has taken so far. */
  readonly taken = (): number => this.written.bytes - backlogOf(this.#response)

  /** @returns what is wrong with the stream from here on */
  #look(chunk: string | Uint8Array, encoding: unknown): StreamError | undefined {
    const bytes =
      typeof chunk === 'string'
        ? Buffer.from(chunk, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8')
        : asBuffer(chunk)
    this.written.bytes += bytes.length
    this.#isJson ??= bytes.length > 0 ? looksLikeJson(bytes) : undefined
    try {
      this.#follower.push(bytes)
    } catch (error) {
      return toStreamError(error)
    } finally {
      // What comes before the first event is the handler's own: a greeting, not yet the upstream.
      if (this.written.events === 0) this.#timeouts.wrote()
      else this.#timeouts.touch()
    }
    return this.#follower.failure ?? this.#reported
  }

  readonly #observe = (event: SSEEvent): void => {
    if (this.followed.sawTerminal || this.#reported) return
    this.written.events++
    const role = this.followed.observe(event)
    if (role === 'content') this.#timeouts.content()
    if (role !== 'error') return
    this.#reported = reportedError(event.data)
    this.followed.reportedToClient = true
  }

  readonly #skipped = (): void => {
    if (this.followed.sawTerminal || this.#reported) return
    this.written.events++
    this.#timeouts.content()
  }

  readonly #beat = (): void => {
    if (this.#stopped || this.#failure || this.#isJson || this.#follower.gap === 'event') return
    const { heartbeat: form } = this.#options.writer ?? {}
    const event = form === 'empty-delta' ? this.followed.emptyDelta() : undefined
    const text = event ? encodeEvent(event) : heartbeat
    this.written.heartbeats++
    this.written.bytes += Buffer.byteLength(text)
    if (!this.#own.write(writable(this.#response, text))) this.#wait()
  }

  /**
   * Not in the turn in which the handler reads: a signal that aborts while the last of an answer is being read
   * makes Node (20 to 26) emit an error on a kept socket that has no listener any more, and the process ends.
   */
  #fail(reason: StreamError): void {
    this.#failure ??= reason
    setImmediate(() => this.#timeouts.settle(this.#failure))
  }

  #wait(): void {
    this.#heartbeat.hold()
    const stalled = backlogOf(this.#response) > this.#maxBufferedBytes
    if (stalled) this.#fail(new StreamError('client_stalled'))
    else if (this.#timeouts.phase !== 'drain') this.#timeouts.drainStarted(this.taken)
  }

  readonly #drained = (): void => {
    this.#heartbeat.resume()
    this.#timeouts.drainEnded()
  }
}

/** No line of an event stream begins with a brace. */
export function looksLikeJson(chunk: unknown): boolean {
  if (typeof chunk === 'string') return /^\s*\{/.test(chunk.slice(0, 16))
  return chunk instanceof Uint8Array && /^\s*\{/.test(Buffer.from(chunk.subarray(0, 16)).toString('latin1'))
}
