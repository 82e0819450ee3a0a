import { once } from 'node:events'
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { requestPath } from '../client/error-response.js'
import { clientWaitsMs, isClientRetry } from '../client/request-hints.js'
import { serverOf, unlessReady } from '../client/response.js'
import { ResponseWriter } from '../client/response-writer.js'
import type { SSEWriter } from '../client/sse-writer.js'
import type { SSEWriterObserver } from '../client/sse-writer-options.js'
import type { EventRole, StreamDialect } from '../dialects/dialect.js'
import { selectDialect, toAnswerEvents } from '../dialects/index.js'
import { StreamError } from '../errors/stream-error.js'
import { reportedError } from '../errors/upstream-report.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import type { EventSourceMessage } from '../framing/sse/parse.js'
import type { AbortSignalLike } from '../timeouts/stop-signal.js'
import { TimeoutCoordinator } from '../timeouts/timeout-coordinator.js'
import { readFailure } from '../upstream/answer.js'
import {
  type OpenAttempt,
  openUpstream,
  type RetryOptions,
  warnOfOwnTimer,
} from '../upstream/open-upstream.js'
import { Upstreams } from '../upstream/opened.js'
import { EventReader } from '../upstream/read-event-stream.js'
import type { UpstreamSource } from '../upstream/source.js'
import { Exchange, type StreamSubject } from './exchange.js'
import { type EventMap, type RelayResult, relayInto } from './relay.js'
import type { RelayTarget } from './relay-target.js'
import { RouteOutput } from './route-output.js'
import { type StreamSettings, timeoutsFor } from './settings.js'
import type { Stream, StreamHandler } from './stream-context.js'

/** What one request says of its stream. */
export interface StreamCall {
  readonly requestId: string
  readonly model: string | undefined
  /** A signal of the caller's. */
  readonly signal: AbortSignal | undefined
}

/** A relay of the handler's that failed, and how many events its client had by then. */
interface FailedRelay {
  readonly error: unknown
  readonly events: number
}

/** The stream of a route: what its handler is given, and what its relays and its writer report to. */
export class RouteStream implements Stream, StreamSubject, RelayTarget, SSEWriterObserver {
  readonly requestId: string
  readonly model: string | undefined
  readonly server: object | undefined
  readonly dialect: StreamDialect
  readonly timeouts: TimeoutCoordinator
  readonly writer: SSEWriter
  readonly upstreams: Upstreams
  readonly exchange: Exchange
  readonly #response: ServerResponse
  readonly #settings: StreamSettings
  readonly #output: RouteOutput
  #relays: Promise<RelayResult>[] = []
  #failedRelays: FailedRelay[] = []
  /** Events that came from upstreams. */
  #received = 0
  #hasUpstream = false

  constructor(response: ServerResponse, settings: StreamSettings, { requestId, model, signal }: StreamCall) {
    this.#response = response
    this.#settings = settings
    this.requestId = requestId
    this.model = model
    this.server = serverOf(response)
    this.dialect = settings.dialect ?? selectDialect(undefined, requestPath(response))
    this.upstreams = new Upstreams(settings.cleanup, requestId)
    this.timeouts = new TimeoutCoordinator(undefined, {
      defaults: timeoutsFor(settings, { model, headers: this.#requestHeaders }),
      signal,
      headWithinMs: clientWaitsMs(this.#requestHeaders),
    })
    this.writer = new ResponseWriter(response, withHeadersOf(this.dialect, settings), {
      signal: this.timeouts.stopSignal,
      observer: this,
    })
    const { drainMs } = this.timeouts.timeouts
    this.#output = new RouteOutput(response, this.writer, { dialect: this.dialect, requestId, drainMs })
    const { timeouts, upstreams } = this
    this.exchange = new Exchange(this, settings, { output: this.#output, timeouts, upstreams })
  }

  get #requestHeaders(): IncomingHttpHeaders {
    return (this.#response.req as IncomingMessage | undefined)?.headers ?? {}
  }

  get signal(): AbortSignal {
    return this.timeouts.signal
  }

  get stopSignal(): AbortSignalLike {
    return this.timeouts.stopSignal
  }

  // Bound when they are taken out: few handlers use all three.

  get openUpstream(): Stream['openUpstream'] {
    return (open, retry) => this.#openUpstream(open, retry)
  }

  get read(): Stream['read'] {
    return (source) => this.#read(source)
  }

  get relay(): Stream['relay'] {
    return (source, map) => this.#relay(source, map)
  }

  /** Lets the handler fill the stream, which is complete when it has, with all its relays. */
  async fill(handler: StreamHandler): Promise<void> {
    try {
      await handler(this)
      await Promise.allSettled(this.#relays)
      if (this.#output.isForeign && !this.#output.gone) await this.timeouts.run(once(this.#response, 'close'))
      if (this.exchange.isOpen) this.#complete()
    } catch (error) {
      this.exchange.fail(error)
    }
  }

  /** The handler has said nothing of a failure. */
  #complete(): void {
    if (this.#output.isForeign) return this.exchange.complete()
    const { events } = this.#output
    // A handler that falls back to another upstream has the last word: what decides is the end.
    const failed = this.#failedRelays.find((each) => each.events === events)
    if (failed && !this.exchange.transcript.complete) throw failed.error
    if (!this.#hasUpstream && !this.#output.committed) {
      throw new StreamError('internal', { code: 'no_answer', message: 'The server had no answer.' })
    }
    this.exchange.complete(this.#hasUpstream ? this.#received : 1)
  }

  #openUpstream<T extends UpstreamSource>(open: OpenAttempt<T>, retry?: RetryOptions): Promise<T> {
    const context = {
      timeouts: this.timeouts,
      isClientRetry: isClientRetry(this.#requestHeaders),
      clientWaitsMs: clientWaitsMs(this.#requestHeaders),
      commitAfterMs: this.#settings.writer.commitAfterMs,
      committed: () => this.committed,
    }
    return openUpstream(open, context, retry)
  }

  #read(source: UpstreamSource | PromiseLike<UpstreamSource>): AsyncGenerator<EventSourceMessage, void> {
    const { maxEventBytes } = this.#settings
    return new EventReader(() => this.open(source), {
      maxEventBytes,
      signal: this.stopSignal,
      onChunk: () => this.touch(),
      onEvent: () => {
        this.#received++
      },
    })
  }

  #relay(source: UpstreamSource | PromiseLike<UpstreamSource>, map?: EventMap): Promise<RelayResult> {
    this.#hasUpstream = true
    const { maxEventBytes } = this.#settings
    const relay = relayInto(this, source, { maxEventBytes, map })
    // A handler may forget to wait for it: the stream must not end before it, and nothing may go unhandled.
    // Not by push(): see StopSignal.
    this.#relays = this.#relays.concat([relay])
    relay.catch((error) => {
      this.#failedRelays = this.#failedRelays.concat([{ error, events: this.#output.events }])
    })
    return relay
  }

  // What a relay asks of its target.

  async open(source: UpstreamSource | PromiseLike<UpstreamSource>): Promise<UpstreamSource> {
    const coming = Promise.resolve(source)
    // One that comes when the stream has stopped is let go at once; one that fails then is looked at by nobody.
    coming.then((upstream) => this.upstreams.adopt(upstream), ignore)
    const upstream = await this.timeouts.stopSignal.run(coming).catch((error) => this.#failed(error))
    this.#hasUpstream = true
    warnOfOwnTimer(upstream)
    return upstream
  }

  /** A client that throws for a status has left the answer to somebody. */
  async #failed(error: unknown): Promise<never> {
    const { response } = Object(error) as { response?: unknown }
    if (typeof response !== 'object' || response === null) throw error
    this.upstreams.adopt(response)
    throw await readFailure(error, { signal: this.stopSignal, onChunk: () => this.touch() })
  }

  get committed(): boolean {
    return this.#output.committed
  }

  get sawTerminal(): boolean {
    return this.exchange.transcript.sawTerminal
  }

  get skips(): RelayTarget['skips'] {
    return this.exchange.transcript.skips
  }

  touch(): void {
    this.timeouts.touch()
  }

  observe(event: SSEEvent): EventRole | undefined {
    return this.exchange.observe(event)
  }

  skipped(): void {
    this.exchange.skipped()
  }

  forward(events: Uint8Array | string, count: number): Promise<void> | undefined {
    return this.exchange.accept(events, count)
  }

  write(event: SSEEvent): Promise<void> | undefined {
    return unlessReady(this.writer.write(event))
  }

  reportedToClient(): void {
    this.exchange.transcript.reportedToClient = true
  }

  toEvents(answer: object): readonly SSEEvent[] | undefined {
    return toAnswerEvents(answer, this.exchange.transcript.dialect)
  }

  relayed(received: number): void {
    this.#received += received
    if (!this.#settings.acceptsTruncated) this.exchange.transcript.requireComplete(received)
  }

  // What the writer reports.

  /** Looks at an event that the handler writes. */
  onEvent(event: SSEEvent): boolean {
    if (!this.exchange.isOpen) return true
    if (this.sawTerminal) return false
    this.timeouts.wrote()
    const role = this.exchange.observe(event)
    if (role === 'error') throw reportedError(event.data)
    this.exchange.sent()
    // It is still to be written.
    if (role === 'terminal') queueMicrotask(() => this.exchange.complete())
    return true
  }

  onHead(): void {
    this.exchange.headSent()
  }

  onDrainStart(): void {
    this.timeouts.drainStarted(() => this.writer.taken)
  }

  onDrainEnd(): void {
    this.timeouts.drainEnded()
  }

  onDisconnect(reason: StreamError): void {
    this.timeouts.settle(reason)
  }

  emptyDelta(): SSEEvent | undefined {
    return this.exchange.transcript.emptyDelta()
  }
}

function withHeadersOf({ headers }: StreamDialect, { writer }: StreamSettings): StreamSettings['writer'] {
  if (headers === undefined || writer.headers === false) return writer
  return { ...writer, headers: { ...headers, ...writer.headers } }
}

function ignore(): void {}
