import { clientWaitsMs } from '../client/request-hints.js'
import type { WriterSettings } from '../client/sse-writer-options.js'
import type { EventRole, StreamDialect } from '../dialects/dialect.js'
import type { Transcript } from '../dialects/transcript.js'
import { propertyOf } from '../errors/cause-chain.js'
import { isStreamError, StreamError } from '../errors/stream-error.js'
import { reportedError } from '../errors/upstream-report.js'
import type { Framing } from '../framing/framing.js'
import { framings } from '../framing/framings.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import { awaitUpstream } from '../stream/await-upstream.js'
import { Exchange } from '../stream/exchange.js'
import { type EventMap, relayInto } from '../stream/relay.js'
import type { EventSink, RelayTarget } from '../stream/relay-target.js'
import { timeoutsOfRequest, timeoutsOfStream } from '../stream/request-timeouts.js'
import type { StreamRecording } from '../stream/resume-target.js'
import type { StreamSettings } from '../stream/settings.js'
import { writerSettingsFor } from '../stream/writer-settings.js'
import type { AbortSignalLike } from '../timeouts/stop-signal.js'
import { type SettledListener, StreamClock } from '../timeouts/stream-clock.js'
import { eachChunk } from '../upstream/chunks.js'
import { Upstreams } from '../upstream/opened.js'
import type { UpstreamSource } from '../upstream/source.js'
import { type OutputParts, WebOutput } from './output.js'
import { errorResponse, streamHeaders, withHeaders } from './response-head.js'
import type { WebSubject } from './subject.js'

interface WebStreamOptions {
  /** Ends the stream as `aborted`. */
  readonly signal?: AbortSignal | undefined
  /** Whether there will be a stream. Until that is known there is nothing to report. */
  readonly isExpected?: boolean
  /** Hears why it ends. */
  readonly onSettled?: SettledListener | undefined
}

/** The stream of a fetch handler: from a response, or an upstream, into a response. */
export class WebStream implements RelayTarget, EventSink, OutputParts {
  readonly sink = this
  readonly subject: WebSubject
  readonly settings: StreamSettings
  readonly clock: StreamClock
  readonly exchange: Exchange
  readonly output: WebOutput
  readonly upstreams: Upstreams
  /** The response that is guarded; `undefined` for one that unhang makes. */
  given: Response | undefined
  recording: StreamRecording | undefined
  /** Headers of the response beside those of an event stream, or of an error. */
  headers: Readonly<Record<string, string>> = {}
  #status = 200
  #isProven = false
  #isExpected: boolean

  constructor(
    subject: WebSubject,
    settings: StreamSettings,
    { signal, isExpected = true, onSettled }: WebStreamOptions,
  ) {
    this.subject = subject
    this.settings = settings
    this.#isExpected = isExpected
    subject.framing = framings[this.writer.framing ?? 'sse']
    const defaults = timeoutsOfRequest(settings, subject, settings.dialect ?? subject.dialect)
    this.clock = new StreamClock(undefined, { defaults, signal })
    this.upstreams = new Upstreams(settings.cleanup, subject.requestId)
    this.output = new WebOutput(this)
    const { output, clock: timeouts, upstreams } = this
    if (!isExpected) timeouts.finished()
    this.exchange = new Exchange(subject, settings, { output, timeouts, upstreams })
    timeouts.onSettled((reason) => this.#settled(reason))
    if (onSettled) timeouts.onSettled(onSettled)
    this.#watchClient()
  }

  /** Settles when the client can rejoin its stream, or never will: until then it is not to have the id. */
  get begun(): Promise<void> | undefined {
    return this.recording?.begun.catch(() => {})
  }

  /** Waits for the client's head no longer than the client does. */
  holdHead(): void {
    this.clock.expectHeadWithin(clientWaitsMs(this.subject.headers))
    this.output.holdHead()
  }

  /** Passes the events of an upstream on. */
  async relay(source: UpstreamSource | PromiseLike<UpstreamSource>, map?: EventMap): Promise<void> {
    const { maxEventBytes } = this.settings
    try {
      await relayInto(this, source, { map, maxEventBytes })
      this.exchange.complete()
    } catch (error) {
      this.exchange.fail(this.#asThrown(error))
    }
  }

  /** A body that does not come of `fetch` is the app's own: an error that says nothing else is a bug of its handler. */
  #asThrown(error: unknown): unknown {
    const { left } = this.subject
    const cause = propertyOf(error, 'cause')
    // A call that was given the request's own signal has ended with the request, whether or not its stream goes on.
    if (left?.aborted && cause === left.reason) return new StreamError('client_gone', { cause })
    const isOwn = this.given !== undefined && this.given.url === ''
    const isGuess = isOwn && isStreamError(error) && error.outcome === 'upstream_hangup'
    return isGuess ? (cause ?? error) : error
  }

  /** Passes on a body that cannot be looked into: if it breaks it can only be cut. */
  async pass(source: Response): Promise<void> {
    const { clock, output } = this
    output.isForeign = true
    this.upstreams.adopt(source)
    const take = (chunk: Uint8Array | string) => {
      clock.touch()
      return output.write(chunk, 0)
    }
    try {
      await eachChunk(source.body as ReadableStream<Uint8Array>, this.stopSignal, { take }).taken
      this.exchange.complete()
    } catch (error) {
      this.exchange.fail(error)
    }
  }

  /** There is a stream after all. */
  expect(): void {
    this.#isExpected = true
    if (this.clock.reason) this.#settled(this.clock.reason)
  }

  #settled(reason: StreamError | undefined): void {
    if (this.#isExpected) this.exchange.settled(reason)
  }

  #watchClient(): void {
    const { left } = this.subject
    if (!left) return
    const leave = () => this.output.leave(left.reason)
    if (left.aborted) return leave()
    left.addEventListener('abort', leave)
    this.clock.onSettled(() => left.removeEventListener('abort', leave))
  }

  // For the output.

  get writer(): WriterSettings {
    return writerSettingsFor(this.settings.dialect ?? this.subject.dialect, this.settings)
  }

  responseOf(body: ReadableStream<Uint8Array>): Response {
    const { given, writer, subject, output } = this
    const headers = withHeaders(new Headers(given?.headers), this.headers)
    const { status = this.#status, statusText = '' } = given ?? {}
    // A body that cannot be looked into keeps its headers: they say how it is to be read.
    const head = output.isForeign ? headers : streamHeaders(headers, subject, writer)
    return new Response(body, { status, statusText, headers: head })
  }

  errorOf(reason: StreamError, message: string): Response {
    const { dialect } = this.transcript
    const response = errorResponse(reason, message, this.subject, { dialect, writer: this.writer })
    withHeaders(response.headers, this.headers)
    return response
  }

  headSent(): void {
    this.exchange.begin()
    this.exchange.headSent()
  }

  clientLeft(cause: unknown): void {
    this.clock.settle(new StreamError('client_gone', { cause }))
  }

  // For a relay.

  get transcript(): Transcript {
    return this.exchange.transcript
  }

  get dialect(): StreamDialect {
    return this.transcript.dialect
  }

  get stopSignal(): AbortSignalLike {
    return this.clock.stopSignal
  }

  get committed(): boolean {
    return this.output.committed
  }

  open(source: UpstreamSource | PromiseLike<UpstreamSource>): Promise<UpstreamSource> {
    return awaitUpstream(source, this.upstreams, this.clock)
  }

  follow({ status, framing }: { status: number | undefined; framing: Framing }): Framing {
    if (this.committed) return this.subject.framing
    if (status !== undefined && ![204, 205, 206].includes(status)) this.#status = status
    if (this.writer.framing === undefined) this.subject.framing = framing
    return this.subject.framing
  }

  observe(event: SSEEvent): EventRole | undefined {
    const role = this.exchange.observe(event)
    const { isProven } = this.transcript
    if (isProven !== this.#isProven && this.exchange.isOpen) {
      this.#isProven = isProven
      this.retime()
    }
    return role
  }

  /** More is known by now of what the deadlines depend on. */
  retime(): void {
    this.clock.retime(timeoutsOfStream(this.settings, this.subject, this.transcript))
  }

  accept(events: Uint8Array | string, count: number): Promise<void> | undefined {
    return this.exchange.accept(events, count)
  }

  encode(event: SSEEvent): string {
    return this.transcript.encode(event)
  }

  write(event: SSEEvent): Promise<void> | undefined {
    if (this.observe(event) === 'error') throw reportedError(event.data)
    return this.accept(this.encode(event), 1)
  }

  relayed(received: number): void {
    if (!this.settings.acceptsTruncated) this.transcript.requireComplete(received)
  }
}
