import type { ServerResponse } from 'node:http'
import { systemClock } from './clock.js'
import { dialectOfHead, recognizeDialect, selectDialect } from './dialects.js'
import { toStreamError } from './error-causes.js'
import { requestPath } from './error-response.js'
import { StreamError } from './errors.js'
import { backlogOf } from './exchange.js'
import { FollowedEvents } from './followed-events.js'
import { Heartbeat } from './heartbeat.js'
import { ObservedBytes } from './observed-bytes.js'
import { type OwnMethods, swallow } from './response-methods.js'
import { encodeEvent, heartbeat, type SSEEvent } from './sse-encode.js'
import { checkWriterOptions } from './sse-writer-options.js'
import type { StreamOptions } from './stream-options.js'
import type { TimeoutCoordinator } from './timeout-coordinator.js'

/** The event stream that a handler writes to its response by itself, on its way to the client. */
export class GuardedEvents {
  readonly followed: FollowedEvents
  readonly written = { events: 0, bytes: 0, heartbeats: 0 }
  readonly #response: ServerResponse
  readonly #own: OwnMethods
  readonly #timeouts: TimeoutCoordinator
  readonly #options: StreamOptions
  readonly #observed: ObservedBytes
  readonly #heartbeat: Heartbeat
  readonly #maxBufferedBytes: number
  #stopped = false

  constructor(
    response: ServerResponse,
    own: OwnMethods,
    timeouts: TimeoutCoordinator,
    options: StreamOptions,
  ) {
    this.#response = response
    this.#own = own
    this.#timeouts = timeouts
    this.#options = options
    const dialect = selectDialect(options.dialect ?? dialectOfHead(response), requestPath(response))
    this.followed = new FollowedEvents(dialect, options.dialect ? undefined : recognizeDialect)
    this.#observed = new ObservedBytes(this.#observe, options.relay?.maxEventBytes)
    const { heartbeatMs, maxBufferedBytes } = checkWriterOptions(options.writer ?? {})
    this.#maxBufferedBytes = maxBufferedBytes
    const firstMs = Number.POSITIVE_INFINITY
    this.#heartbeat = new Heartbeat(this.#beat, { firstMs, everyMs: heartbeatMs, clock: systemClock })
    this.#heartbeat.committed()
    response.on('drain', this.#drained)
  }

  /** Passes on what the handler writes. A failure found in it settles the stream. */
  write(chunk: unknown, ...rest: unknown[]): boolean {
    if (this.followed.sawTerminal) return swallow(rest, true)
    const failure = this.#look(chunk, rest[0])
    this.#heartbeat.postpone()
    const more = this.#own.write(chunk as string, ...(rest as []))
    if (failure) this.#timeouts.settle(failure)
    else if (!more && !this.followed.sawTerminal) this.#wait()
    // True once it is over: nobody will ever say 'drain'.
    return more || this.#stopped
  }

  /**
   * The handler says that this was all: was it?
   *
   * @throws StreamError for an answer that is not complete
   */
  requireComplete(): void {
    this.#observed.end()
    if (this.#options.relay?.onTruncated === 'accept' || !this.followed.dialect.needsTerminal) return
    this.followed.requireComplete(this.written.events)
  }

  /** Ends the response with these events, in one write, after the end of the event that has begun. */
  end(events: readonly SSEEvent[]): void {
    const text = this.#observed.closing + events.map(encodeEvent).join('')
    this.written.bytes += Buffer.byteLength(text)
    if (text === '') this.#own.end()
    else this.#own.end(text)
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
  #look(chunk: unknown, encoding: unknown): StreamError | undefined {
    const bytes =
      typeof chunk === 'string'
        ? Buffer.from(chunk, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8')
        : (chunk as Uint8Array)
    this.written.bytes += bytes.length
    try {
      this.#observed.observe(bytes)
    } catch (error) {
      return toStreamError(error)
    } finally {
      // What comes before the first event is the handler's own: a greeting, not yet the upstream.
      if (this.written.events === 0) this.#timeouts.wrote()
      else this.#timeouts.touch()
    }
    return this.followed.reported
  }

  readonly #observe = (event: SSEEvent): void => {
    if (this.followed.sawTerminal || this.followed.reported) return
    this.written.events++
    const role = this.followed.observe(event)
    if (role === 'content') this.#timeouts.content()
    if (role === 'error') this.followed.reportedToClient = true
  }

  readonly #beat = (): void => {
    if (this.#stopped || !this.#observed.betweenEvents) return
    const { heartbeat: form } = this.#options.writer ?? {}
    const event = form === 'empty-delta' ? this.followed.emptyDelta() : undefined
    const text = event ? encodeEvent(event) : heartbeat
    this.written.heartbeats++
    this.written.bytes += Buffer.byteLength(text)
    if (!this.#own.write(text)) this.#wait()
  }

  #wait(): void {
    this.#heartbeat.hold()
    const stalled = backlogOf(this.#response) > this.#maxBufferedBytes
    if (stalled) this.#timeouts.settle(new StreamError('client_stalled'))
    else if (this.#timeouts.phase !== 'drain') this.#timeouts.drainStarted(this.taken)
  }

  readonly #drained = (): void => {
    this.#heartbeat.resume()
    this.#timeouts.drainEnded()
  }
}
