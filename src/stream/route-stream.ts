import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { appRequestOf } from '../client/app-request.js'
import { requestPath } from '../client/error-response.js'
import { clientWaitsMs } from '../client/request-hints.js'
import { serverOf } from '../client/response.js'
import { ResponseWriter } from '../client/response-writer.js'
import type { SSEWriterObserver } from '../client/sse-writer-options.js'
import type { DialectRequest, StreamDialect } from '../dialects/dialect.js'
import { selectDialect } from '../dialects/index.js'
import type { Transcript } from '../dialects/transcript.js'
import { StreamError } from '../errors/stream-error.js'
import { reportedError } from '../errors/upstream-report.js'
import type { Framing } from '../framing/framing.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import { StreamClock } from '../timeouts/stream-clock.js'
import { HandlerDeadlines, type StreamDeadlines } from '../timeouts/stream-deadlines.js'
import { Upstreams } from '../upstream/opened.js'
import { Exchange } from './exchange.js'
import { timeoutsFor } from './request-timeouts.js'
import { holdHead, type ResumeTarget, type StreamRecording, setStreamId } from './resume-target.js'
import { RouteOutput } from './route-output.js'
import { RouteUpstreams } from './route-upstreams.js'
import type { StreamSettings } from './settings.js'
import type { StreamContext, StreamHandler } from './stream-context.js'
import type { StreamSubject } from './stream-subject.js'
import { writerSettingsFor } from './writer-settings.js'

/** The facts in a request that decide about its stream. */
export interface StreamCall {
  readonly requestId: string
  readonly model: string | undefined
  /** A signal of the caller's. */
  readonly signal: AbortSignal | undefined
}

/** The stream of a route: its handler is given the one side, and its writer reports to the other. */
export class RouteStream implements StreamContext, StreamSubject, SSEWriterObserver {
  readonly requestId: string
  readonly model: string | undefined
  readonly server: object | undefined
  readonly dialect: StreamDialect
  readonly request: DialectRequest
  readonly clock: StreamClock
  readonly writer: ResponseWriter
  readonly upstreams: Upstreams
  readonly exchange: Exchange
  readonly #response: ServerResponse
  readonly #output: RouteOutput
  readonly #handled: RouteUpstreams
  #recording: StreamRecording | undefined

  constructor(response: ServerResponse, settings: StreamSettings, { requestId, model, signal }: StreamCall) {
    this.#response = response
    this.requestId = requestId
    this.model = model
    this.server = serverOf(response)
    const request = response.req as (IncomingMessage & { body?: unknown }) | undefined
    const requestHeaders = request?.headers ?? {}
    this.request = { method: request?.method, headers: requestHeaders, body: request?.body, model }
    this.dialect = settings.dialect ?? selectDialect(undefined, requestPath(response), this.request)
    const { isUnhurried } = this.dialect
    const defaults = timeoutsFor(settings, { model, headers: requestHeaders, isUnhurried })
    this.clock = new StreamClock(undefined, { defaults, signal })
    this.clock.expectHeadWithin(clientWaitsMs(requestHeaders))
    this.upstreams = new Upstreams(settings.cleanup, requestId)
    this.writer = new ResponseWriter(response, writerSettingsFor(this.dialect, settings), {
      signal: this.clock.stopSignal,
      observer: this,
    })
    const { dialect, clock: timeouts, upstreams, writer } = this
    const { clientStallMs } = timeouts.timeouts
    const options = { dialect, requestId, clientStallMs, writer: settings.writer }
    this.#output = new RouteOutput(response, writer, options)
    const exchange = new Exchange(this, settings, { output: this.#output, timeouts, upstreams })
    this.exchange = exchange
    this.#handled = new RouteUpstreams({ exchange, timeouts, writer, upstreams, requestHeaders }, settings)
  }

  get framing(): Framing {
    return this.writer.framing
  }

  get signal(): AbortSignal {
    return this.clock.signal
  }

  get deadlines(): StreamDeadlines {
    return new HandlerDeadlines(this.clock)
  }

  /** An older name. */
  get timeouts(): never {
    throw new TypeError('there is no stream.timeouts: write stream.deadlines')
  }

  // Bound when they are taken out: few handlers use all three.

  get openUpstream(): StreamContext['openUpstream'] {
    return (open, retry) => this.#handled.openUpstream(open, retry)
  }

  get read(): StreamContext['read'] {
    return (source) => this.#handled.read(source)
  }

  get relay(): StreamContext['relay'] {
    return (source, map) => this.#handled.relay(source, map)
  }

  /**
   * Records it from here on.
   *
   * @throws StreamError for an id that is taken
   */
  async recordTo(resume: ResumeTarget, settings: StreamSettings): Promise<void> {
    const { requestId, model, framing, transcript } = this
    const stop = (reason: StreamError) => void this.clock.settle(reason)
    const stream = { requestId, model, request: appRequestOf(this.#response.req), framing, transcript, stop }
    this.#recording = resume.record(stream)
    if (!this.#recording) return
    this.exchange.recordTo(this.#recording)
    // An id that the app has chosen may be taken, and over HTTP/2 no head can be held.
    const mustWait = this.#recording.isChosen || this.#response.req?.httpVersionMajor === 2
    if (mustWait) await this.#recording.begun
    else holdHead(this.#response, this.#recording)
    setStreamId(this.#response, this.#recording.streamId, settings)
  }

  /** Lets the handler fill the stream, which is complete when it has, with all its relays. */
  async fill(handler: StreamHandler): Promise<void> {
    const { exchange } = this
    try {
      await handler(this)
      await this.#handled.settled
      // The handler responds in its own way, say with JSON: that ends when the handler ends it.
      const { isForeign, gone } = this.#output
      if (isForeign && !gone) await this.clock.run(once(this.#response, 'close'))
      if (!exchange.isOpen) return
      if (isForeign) exchange.complete()
      else exchange.complete(this.#handled.received())
    } catch (error) {
      exchange.fail(error)
    }
  }

  // Reports of the writer.

  /** Looks at an event that the handler writes. */
  onEvent(event: SSEEvent): boolean {
    const { exchange } = this
    if (!exchange.isOpen) return true
    if (exchange.transcript.sawTerminal) return false
    this.clock.wrote()
    const role = exchange.observe(event)
    if (role === 'error') throw reportedError(event.data)
    exchange.sent()
    // It is still to be written.
    if (role === 'terminal') queueMicrotask(() => exchange.complete())
    return true
  }

  onWritten(events: Uint8Array | string, count: number): void {
    this.#recording?.append(events, count)
  }

  onLeft(): boolean {
    return this.#recording?.detach(() => this.clock.settle(new StreamError('client_gone'))) === true
  }

  onHead(): void {
    this.exchange.headSent()
  }

  onDrainStart(): void {
    this.clock.drainStarted(() => this.writer.taken)
  }

  onDrainEnd(): void {
    this.clock.drainEnded()
  }

  onDisconnect(reason: StreamError): void {
    this.clock.settle(reason)
  }

  get transcript(): Transcript {
    return this.exchange.transcript
  }
}
