import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { requestPath } from '../client/error-response.js'
import { clientWaitsMs, isClientRetry, withinClientTimeout } from '../client/request-hints.js'
import { ready, requestIdOf, serverOf, unlessReady } from '../client/response.js'
import { createSSEWriter, type SSEWriter } from '../client/sse-writer.js'
import { checkWriterOptions, type SSEWriterObserver } from '../client/sse-writer-options.js'
import { channels, describeError, log } from '../diagnostics/channels.js'
import type { EventRole } from '../dialects/dialect.js'
import { recognizeDialect, selectDialect, toAnswerEvents } from '../dialects/index.js'
import { Transcript } from '../dialects/transcript.js'
import { StreamError, StreamTimeoutError } from '../errors/stream-error.js'
import { reportedError } from '../errors/upstream-report.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import type { EventSourceMessage } from '../framing/sse/parse.js'
import type { LiveStream } from '../server/live-streams.js'
import { resolveTimeouts } from '../timeouts/options.js'
import { selectTimeoutProfile } from '../timeouts/profiles.js'
import { StopSignal } from '../timeouts/stop-signal.js'
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
import { type EventMap, type RelayResult, relayInto } from './relay.js'
import type { RelayTarget } from './relay-target.js'
import type { HandleStreamOptions, Stream, StreamHandler } from './stream-context.js'

/** One stream with everything it owns: its clock, its writer, its dialect's view of it, and its upstreams. */
export class ActiveStream implements Stream, RelayTarget, SSEWriterObserver, LiveStream {
  readonly requestId: string
  readonly timeouts: TimeoutCoordinator
  readonly writer: SSEWriter
  readonly followed: Transcript
  readonly upstreams: Upstreams
  readonly server: object | undefined
  readonly stopSignal = new StopSignal()
  /** Set once it runs. */
  ended: Promise<unknown> = ready
  readonly #request: IncomingMessage | undefined
  readonly #options: HandleStreamOptions
  #relays: Promise<RelayResult>[] = []
  /** Events that came from upstreams. */
  #received = 0
  #adopted = false
  #closing = false
  #filled: (() => void) | undefined
  #stopped: ((reason: StreamError) => void) | undefined

  constructor(response: ServerResponse, options: HandleStreamOptions) {
    const { model, advancedModels } = options
    this.#options = options
    this.#request = response.req as IncomingMessage | undefined
    this.server = serverOf(response)
    this.requestId = options.requestId ?? requestIdOf(response)
    const dialect = selectDialect(options.dialect, requestPath(response))
    this.followed = new Transcript(dialect, options.dialect ? undefined : recognizeDialect)
    this.upstreams = new Upstreams(options.cleanup, this.requestId)
    const profile = selectTimeoutProfile({ streaming: true, model }, advancedModels ? { advancedModels } : {})
    this.timeouts = new TimeoutCoordinator(undefined, {
      defaults: withinClientTimeout(resolveTimeouts(options.timeouts, profile), this.#requestHeaders),
      signal: options.signal,
      headWithinMs: clientWaitsMs(this.#requestHeaders),
    })
    this.timeouts.onSettled((reason) => this.#settled(reason))
    const { headers } = options.writer ?? {}
    this.writer = createSSEWriter(response, {
      ...options.writer,
      headers: headers === false ? false : { ...dialect.headers, ...headers },
      signal: this.stopSignal,
      observer: this,
    })
  }

  get #requestHeaders(): IncomingHttpHeaders {
    return this.#request?.headers ?? {}
  }

  get signal(): AbortSignal {
    return this.stopSignal.abortSignal
  }

  stop(reason: StreamError): void {
    this.timeouts.settle(reason)
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

  /**
   * Lets the handler fill the stream.
   *
   * @returns when it has, with all its relays, or when it has written the terminal event
   * @throws what it failed with, or why the stream must stop
   */
  fill(handler: StreamHandler): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      this.#filled = resolve
      this.#stopped = reject
      void this.#fillBy(handler)
    })
  }

  async #fillBy(handler: StreamHandler): Promise<void> {
    try {
      await handler(this)
      await Promise.all(this.#relays)
      this.#filled?.()
    } catch (error) {
      if (this.timeouts.settled || this.followed.sawTerminal)
        log.stream('%s: the handler failed after the end: %s', this.requestId, describeError(error))
      this.#stopped?.(error as StreamError)
    }
  }

  /** Ends the response with what the dialect says, which needs no looking at. */
  close(events: SSEEvent[]): void {
    this.#closing = true
    this.writer.close(...events)
  }

  #openUpstream<T extends UpstreamSource>(open: OpenAttempt<T>, retry?: RetryOptions): Promise<T> {
    const { timeouts } = this
    const context = {
      timeouts,
      isClientRetry: isClientRetry(this.#requestHeaders),
      clientWaitsMs: clientWaitsMs(this.#requestHeaders),
      commitAfterMs: checkWriterOptions(this.#options.writer ?? {}).commitAfterMs,
      committed: () => this.committed,
    }
    return openUpstream(open, context, retry)
  }

  #read(source: UpstreamSource | PromiseLike<UpstreamSource>): AsyncGenerator<EventSourceMessage, void> {
    const onEvent = () => {
      this.#received++
    }
    const { relay } = this.#options
    const options = { ...relay, signal: this.stopSignal, onChunk: () => this.touch(), onEvent }
    return new EventReader(() => this.open(source), options)
  }

  #relay(source: UpstreamSource | PromiseLike<UpstreamSource>, map?: EventMap): Promise<RelayResult> {
    const relay = relayInto(this, source, { ...this.#options.relay, map })
    // A handler may forget to wait for it: the stream must not end before it, and nothing may go unhandled.
    // Not by push(): see StopSignal.
    this.#relays = this.#relays.concat([relay])
    relay.catch(ignore)
    return relay
  }

  async open(source: UpstreamSource | PromiseLike<UpstreamSource>): Promise<UpstreamSource> {
    const coming = Promise.resolve(source)
    // One that comes when the stream has stopped is let go at once; one that fails then is looked at by nobody.
    coming.then((upstream) => this.upstreams.adopt(upstream), ignore)
    const upstream = await this.stopSignal.run(coming).catch((error) => this.#failed(error))
    this.#adopted = true
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

  relayed(received: number): void {
    this.#received += received
    if (this.#options.relay?.onTruncated !== 'accept') this.followed.requireComplete(received)
  }

  /**
   * The handler is done and has said nothing of a failure.
   *
   * @throws StreamError `upstream_truncated` when the client would miss the end
   */
  requireComplete(): void {
    const hasUpstream = this.#relays.length > 0 || this.#adopted
    if (!hasUpstream && this.writer.events === 0 && !this.writer.committed) {
      throw new StreamError('internal', { code: 'no_answer', message: 'The server had no answer.' })
    }
    if (this.#options.relay?.onTruncated !== 'accept') {
      this.followed.requireComplete(hasUpstream ? this.#received : 1)
    }
  }

  get committed(): boolean {
    return this.writer.committed || this.writer.events > 0
  }

  get sawTerminal(): boolean {
    return this.followed.sawTerminal
  }

  get skips(): RelayTarget['skips'] {
    return this.followed.skips
  }

  touch(): void {
    this.timeouts.touch()
  }

  /** Looks at an event that is relayed. What comes when the ending has been written changes nothing any more. */
  observe(event: SSEEvent): EventRole | undefined {
    if (this.#closing) return undefined
    const role = this.followed.observe(event)
    if (role === 'content') this.timeouts.content()
    return role
  }

  skipped(): void {
    this.timeouts.content()
  }

  reportedToClient(): void {
    this.followed.reportedToClient = true
  }

  toEvents(answer: object): readonly SSEEvent[] | undefined {
    return toAnswerEvents(answer, this.followed.dialect)
  }

  forward(events: Uint8Array | string, count: number): Promise<void> | undefined {
    const before = this.writer.events
    const written = this.writer.forward(events, count)
    if (this.#closing) return unlessReady(written)
    if (count > 0 && this.writer.events === before) return this.#refused(written)
    if (!this.followed.sawTerminal) return unlessReady(written)
    // In the turn of the terminal event, so that the end of the response leaves in one write with it.
    this.close([])
    this.#filled?.()
    return undefined
  }

  /** The client does not have what came last. The writer says why; if it cannot, somebody else has ended the response. */
  #refused(written: Promise<void>): Promise<never> {
    this.followed.refused = true
    const refusal = written.then(() => {
      throw new StreamError('internal', { message: 'The response was ended elsewhere.' })
    })
    refusal.catch(ignore)
    return refusal
  }

  write(event: SSEEvent): Promise<void> | undefined {
    return unlessReady(this.writer.write(event))
  }

  // What the writer tells.

  /** Looks at an event that the handler writes. */
  onEvent(event: SSEEvent): boolean {
    if (this.#closing) return true
    if (this.followed.sawTerminal) return false
    this.timeouts.wrote()
    const role = this.followed.observe(event)
    if (role === 'error') throw reportedError(event.data)
    if (role === 'content') this.timeouts.content()
    if (role === 'terminal') this.#filled?.()
    return true
  }

  onHead(): void {
    channels.head.publish({ requestId: this.requestId })
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
    return this.followed.emptyDelta()
  }

  #settled(reason: StreamError | undefined): void {
    if (!reason) return
    this.stopSignal.abort(reason)
    this.#stopped?.(reason)
    this.upstreams.release(reason)
    if (reason instanceof StreamTimeoutError) {
      const { phase, timeoutMs } = reason
      log.timeout('%s: %s after %d ms', this.requestId, phase, timeoutMs)
      channels.timeout.publish({ requestId: this.requestId, phase, timeoutMs })
    }
  }
}

function ignore(): void {}
