import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import { clientWaitsMs, isClientRetry, withinClientTimeout } from './client-timeout.js'
import { channels, log } from './diagnostics.js'
import { recognizeDialect, selectDialect, toAnswerEvents } from './dialects.js'
import { unlessAtOnce } from './drain.js'
import { requestPath } from './error-response.js'
import { StreamError, StreamTimeoutError } from './errors.js'
import { EventReader } from './event-reader.js'
import type { EventSourceMessage } from './event-stream-parser.js'
import { requestIdOf } from './exchange.js'
import { FollowedEvents } from './followed-events.js'
import { readFailure } from './open-event-stream.js'
import {
  type OpenAttempt,
  type OpenUpstreamContext,
  openUpstream,
  type RetryOptions,
} from './open-upstream.js'
import { warnOfOwnTimer } from './own-timers.js'
import { type EventMap, type RelayResult, relayInto } from './relay-event-stream.js'
import type { RelaySink } from './relay-sink.js'
import type { SSEEvent } from './sse-encode.js'
import { createSSEWriter, type SSEWriter } from './sse-writer.js'
import { checkWriterOptions } from './sse-writer-options.js'
import type { EventRole } from './stream-dialect.js'
import type { StreamOptions } from './stream-options.js'
import { TimeoutCoordinator } from './timeout-coordinator.js'
import { resolveTimeouts } from './timeout-options.js'
import { selectTimeoutProfile } from './timeout-profiles.js'
import type { UpstreamSource } from './upstream-source.js'
import { Upstreams } from './upstreams.js'

/** What a handler fills. Its functions can be taken out of it: `({ relay, signal }) => …`. */
export interface Stream {
  /** Writes events of your own. */
  readonly writer: SSEWriter
  /** Hand it to every call of the upstream: it aborts when the client leaves or a deadline passes. */
  readonly signal: AbortSignal
  /** The stream's clock. */
  readonly timeouts: TimeoutCoordinator
  /** Stands in the record, the logs, and the `x-request-id` of the response. */
  readonly requestId: string
  /**
   * Calls an upstream, and calls it again where that does no harm. See `RetryOptions`. Each call gets a signal of
   * its own: one that takes too long to connect is given up alone.
   */
  openUpstream<T extends UpstreamSource>(open: OpenAttempt<T>, retry?: RetryOptions): Promise<T>
  /** The events of an upstream, or of the call that will return it, to loop over. */
  read(source: UpstreamSource | PromiseLike<UpstreamSource>): AsyncGenerator<EventSourceMessage, void>
  /**
   * Sends the events of an upstream, or of the call that will return it, on to the client: each as `map` makes
   * it, or, without one, byte for byte.
   */
  relay(source: UpstreamSource | PromiseLike<UpstreamSource>, map?: EventMap): Promise<RelayResult>
}

export interface ActiveStreamOptions extends StreamOptions {
  /** A signal of the caller's; when it aborts, the client is told and the stream ends as `aborted`. */
  signal?: AbortSignal | undefined
  /** The model that was asked for: picks the timeouts, and goes into the record. */
  model?: string | undefined
  /** Default: the request's `x-request-id` if it is a plain one, else a new one. */
  requestId?: string | undefined
}

/** One stream with everything it owns: its clock, its writer, its dialect's view of it, and its upstreams. */
export class ActiveStream implements Stream, RelaySink {
  readonly requestId: string
  readonly timeouts: TimeoutCoordinator
  readonly writer: SSEWriter
  readonly followed: FollowedEvents
  readonly upstreams: Upstreams
  /** Resolves when the terminal event has been written. */
  readonly terminal: Promise<void>
  /** What the client says of its patience, and when it gets its head. */
  readonly #client: Pick<OpenUpstreamContext, 'isClientRetry' | 'clientWaitsMs' | 'commitAfterMs'>
  readonly #relays: Promise<RelayResult>[] = []
  readonly #relay: ActiveStreamOptions['relay']
  /** Events that came from upstreams. */
  #received = 0
  #adopted = false
  #closing = false
  #resolveTerminal: () => void = () => {}

  constructor(response: ServerResponse, options: ActiveStreamOptions) {
    const { model, advancedModels } = options
    this.#relay = options.relay
    this.requestId = options.requestId ?? requestIdOf(response)
    const dialect = selectDialect(options.dialect, requestPath(response))
    this.followed = new FollowedEvents(dialect, options.dialect ? undefined : recognizeDialect)
    this.terminal = new Promise((resolve) => {
      this.#resolveTerminal = resolve
    })
    this.upstreams = new Upstreams(options.cleanup, (report) => {
      channels.cleanup.publish({ requestId: this.requestId, report })
    })
    const { headers: requestHeaders = {} } = (response.req ?? {}) as { headers?: IncomingHttpHeaders }
    this.#client = {
      isClientRetry: isClientRetry(requestHeaders),
      clientWaitsMs: clientWaitsMs(requestHeaders),
      commitAfterMs: checkWriterOptions(options.writer ?? {}).commitAfterMs,
    }
    const profile = selectTimeoutProfile({ streaming: true, model }, advancedModels ? { advancedModels } : {})
    const inForce = withinClientTimeout(resolveTimeouts(options.timeouts, profile), requestHeaders)
    const timeouts = new TimeoutCoordinator(undefined, {
      defaults: inForce,
      signal: options.signal,
      headWithinMs: this.#client.clientWaitsMs,
    })
    timeouts.onSettled(this.#settled)
    this.timeouts = timeouts
    const { headers } = options.writer ?? {}
    this.writer = createSSEWriter(response, {
      ...options.writer,
      headers: headers === false ? false : { ...dialect.headers, ...headers },
      signal: timeouts.signal,
      observer: {
        emptyDelta: () => this.followed.emptyDelta(),
        onHead: () => channels.head.publish({ requestId: this.requestId }),
        onEvent: (event) => this.#written(event),
        onDrainStart: () => timeouts.drainStarted(() => this.writer.taken),
        onDrainEnd: () => timeouts.drainEnded(),
        onDisconnect: (reason) => void timeouts.settle(reason),
      },
    })
  }

  get signal(): AbortSignal {
    return this.timeouts.signal
  }

  readonly openUpstream = <T extends UpstreamSource>(
    open: OpenAttempt<T>,
    retry?: RetryOptions,
  ): Promise<T> => {
    const { timeouts, writer } = this
    const context = {
      timeouts,
      ...this.#client,
      committed: () => writer.committed || writer.events > 0,
    }
    return openUpstream(open, context, retry)
  }

  readonly read = (
    source: UpstreamSource | PromiseLike<UpstreamSource>,
  ): AsyncGenerator<EventSourceMessage, void> => {
    const onEvent = () => {
      this.#received++
    }
    const options = { ...this.#relay, signal: this.signal, onChunk: this.#touch, onEvent }
    return new EventReader(() => this.#adopt(source), options)
  }

  /** Ends the response with what the dialect says, which needs no looking at. */
  close(events: SSEEvent[]): void {
    this.#closing = true
    this.writer.close(...events)
  }

  /** A call that is still on its way may be aborted before anybody looks at it: `run` does. */
  async #adopt(source: UpstreamSource | PromiseLike<UpstreamSource>): Promise<UpstreamSource> {
    const upstream = await this.timeouts.run(Promise.resolve(source)).catch((error) => this.#failed(error))
    this.#adopted = true
    this.upstreams.adopt(upstream)
    warnOfOwnTimer(upstream)
    return upstream
  }

  /** A client that throws for a status has left the answer to somebody. */
  async #failed(error: unknown): Promise<never> {
    const { response } = Object(error) as { response?: unknown }
    if (typeof response !== 'object' || response === null) throw error
    this.upstreams.adopt(response)
    throw await readFailure(error, { signal: this.signal, onChunk: this.#touch })
  }

  readonly relay = (
    source: UpstreamSource | PromiseLike<UpstreamSource>,
    map?: EventMap,
  ): Promise<RelayResult> => {
    const relay = this.#runRelay(source, map)
    // A handler may forget to wait for it: the stream must not end before it, and nothing may go unhandled.
    this.#relays.push(relay)
    relay.catch(() => {})
    return relay
  }

  /** @throws what a relay failed with */
  async relaysDone(): Promise<void> {
    await Promise.all(this.#relays)
  }

  async #runRelay(
    source: UpstreamSource | PromiseLike<UpstreamSource>,
    map: EventMap | undefined,
  ): Promise<RelayResult> {
    const upstream = await this.#adopt(source)
    const received = await relayInto(this, upstream, { ...this.#relay, map })
    this.#received += received
    const { sawTerminal } = this.followed
    if (!sawTerminal && this.#relay?.onTruncated !== 'accept') this.followed.requireComplete(received)
    return { received, sawTerminal }
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
    if (this.#relay?.onTruncated !== 'accept') {
      this.followed.requireComplete(hasUpstream ? this.#received : 1)
    }
  }

  get committed(): boolean {
    return this.writer.committed || this.writer.events > 0
  }

  get ended(): boolean {
    return this.followed.sawTerminal
  }

  get reported(): Error | undefined {
    return this.followed.reported
  }

  get differing(): RegExp | undefined {
    return this.followed.differing
  }

  get isContent(): boolean {
    return this.followed.isContent
  }

  touch(): void {
    this.timeouts.touch()
  }

  /** Looks at an event that is relayed. */
  observe(event: SSEEvent): EventRole | undefined {
    const role = this.followed.observe(event)
    if (role === 'content') this.timeouts.content()
    return role
  }

  repeats(event: SSEEvent): boolean {
    return this.followed.repeats(event)
  }

  repeated(): void {
    this.timeouts.content()
  }

  reportedToClient(): void {
    this.followed.reportedToClient = true
  }

  toEvents(answer: object): readonly SSEEvent[] | undefined {
    return toAnswerEvents(answer, this.followed.dialect)
  }

  forward(events: Uint8Array | string, count: number): Promise<void> | undefined {
    const ready = this.writer.forward(events, count)
    if (this.followed.sawTerminal) this.#resolveTerminal()
    return unlessAtOnce(ready)
  }

  write(event: SSEEvent): Promise<void> | undefined {
    return unlessAtOnce(this.writer.write(event))
  }

  readonly #touch = (): void => this.timeouts.touch()

  /** Looks at an event that the handler writes. */
  #written(event: SSEEvent): boolean {
    if (this.#closing) return true
    if (this.followed.sawTerminal) return false
    this.timeouts.wrote()
    const role = this.followed.observe(event)
    if (this.followed.reported) throw this.followed.reported
    if (role === 'content') this.timeouts.content()
    if (role === 'terminal') this.#resolveTerminal()
    return true
  }

  readonly #settled = (reason: StreamError | undefined): void => {
    if (!reason) return
    this.upstreams.release(reason)
    if (reason instanceof StreamTimeoutError) {
      const { phase, timeoutMs } = reason
      log.timeout('%s: %s after %d ms', this.requestId, phase, timeoutMs)
      channels.timeout.publish({ requestId: this.requestId, phase, timeoutMs })
    }
  }
}
