import type { IncomingHttpHeaders } from 'node:http'
import { unlessReady } from '../client/catching-up.js'
import { clientWaitsMs, isClientRetry } from '../client/request-hints.js'
import type { ResponseWriter } from '../client/response-writer.js'
import type { StreamDialect } from '../dialects/dialect.js'
import type { Transcript } from '../dialects/transcript.js'
import { StreamError } from '../errors/stream-error.js'
import type { Framing } from '../framing/framing.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import type { EventSourceMessage } from '../framing/sse/parse.js'
import type { AbortSignalLike } from '../timeouts/stop-signal.js'
import type { StreamClock } from '../timeouts/stream-clock.js'
import type { OpenAttempt } from '../upstream/call-once.js'
import { callUpstream } from '../upstream/open-upstream.js'
import type { Upstreams } from '../upstream/opened.js'
import { EventReader } from '../upstream/read-event-stream.js'
import type { RetryOptions, UpstreamRetry } from '../upstream/retry-options.js'
import type { UpstreamSource } from '../upstream/source.js'
import { awaitUpstream } from './await-upstream.js'
import type { Exchange } from './exchange.js'
import { type EventMap, type RelayResult, relayInto } from './relay.js'
import type { RelayTarget } from './relay-target.js'
import type { StreamSettings } from './settings.js'

/** The parts of a stream that the upstreams of a route's handler need. */
export interface RouteParts {
  readonly exchange: Exchange
  readonly timeouts: StreamClock
  readonly writer: ResponseWriter
  readonly upstreams: Upstreams
  readonly requestHeaders: IncomingHttpHeaders
}

/** A relay of the handler's that failed, and how many events its client had by then. */
interface FailedRelay {
  readonly error: unknown
  readonly events: number
}

/** The upstreams of a route's handler: how it calls, reads and relays them, and how they ended. */
export class RouteUpstreams implements RelayTarget {
  readonly sink: Exchange
  readonly clock: StreamClock
  readonly #parts: RouteParts
  readonly #settings: StreamSettings
  #relays: Promise<RelayResult>[] = []
  #failedRelays: FailedRelay[] = []
  /** Events that came. */
  #received = 0
  #hasUpstream = false

  constructor(parts: RouteParts, settings: StreamSettings) {
    this.#parts = parts
    this.#settings = settings
    this.sink = parts.exchange
    this.clock = parts.timeouts
  }

  get transcript(): Transcript {
    return this.sink.transcript
  }

  get dialect(): StreamDialect {
    return this.sink.transcript.dialect
  }

  get stopSignal(): AbortSignalLike {
    return this.clock.stopSignal
  }

  /** When all relays have come to an end. */
  get settled(): Promise<unknown> {
    return Promise.allSettled(this.#relays)
  }

  /**
   * The handler has said nothing of a failure. A handler that falls back to another upstream has the last word: the end
   * decides.
   *
   * @returns how many events came, for an exchange to judge whether that was all
   * @throws the failure that kept the client from having a response
   */
  received(): number {
    const { writer } = this.#parts
    const failed = this.#failedRelays.find(({ events }) => events === writer.events)
    if (failed && !this.transcript.complete) throw failed.error
    if (!this.#hasUpstream && !this.sink.committed) {
      throw new StreamError('internal', { code: 'no_answer', message: 'The server sent no response.' })
    }
    return this.#hasUpstream ? this.#received : 1
  }

  async openUpstream<T extends UpstreamSource>(open: OpenAttempt<T>, retry?: RetryOptions): Promise<T> {
    const { requestHeaders, upstreams } = this.#parts
    const context = {
      timeouts: this.clock,
      isClientRetry: isClientRetry(requestHeaders),
      clientWaitsMs: clientWaitsMs(requestHeaders),
      headersAfterMs: this.#settings.writer.headersAfterMs,
      committed: () => this.sink.committed,
      retrying: (retry: UpstreamRetry) => this.sink.retrying(retry),
    }
    const upstream = await callUpstream(open, context, retry)
    // Also one that is never read belongs to the stream.
    upstreams.adopt(upstream)
    return upstream
  }

  read(source: UpstreamSource | PromiseLike<UpstreamSource>): AsyncGenerator<EventSourceMessage, void> {
    const { maxEventBytes } = this.#settings
    return new EventReader(() => this.open(source), {
      maxEventBytes,
      signal: this.stopSignal,
      onChunk: () => this.clock.touch(),
      onEvent: ({ data }) => {
        this.#received++
        this.transcript.tally.see(data)
      },
    })
  }

  relay(source: UpstreamSource | PromiseLike<UpstreamSource>, map?: EventMap): Promise<RelayResult> {
    this.#hasUpstream = true
    const { maxEventBytes } = this.#settings
    const relay = relayInto(this, source, { maxEventBytes, map })
    // A handler may forget to wait for it: the stream must not end before it, and nothing may go unhandled.
    // Not by push(): see StopSignal.
    this.#relays = this.#relays.concat([relay])
    relay.catch((error) => {
      this.#failedRelays = this.#failedRelays.concat([{ error, events: this.#parts.writer.events }])
    })
    return relay
  }

  async open(source: UpstreamSource | PromiseLike<UpstreamSource>): Promise<UpstreamSource> {
    const upstream = await awaitUpstream(source, this.#parts.upstreams, this.clock)
    this.#hasUpstream = true
    return upstream
  }

  follow(upstream: { status: number | undefined; framing: Framing }): Framing {
    const { writer } = this.#parts
    writer.head.follow(upstream)
    return writer.framing
  }

  encode(event: SSEEvent): string {
    return this.transcript.encode(event)
  }

  write(event: SSEEvent): Promise<void> | undefined {
    return unlessReady(this.#parts.writer.write(event))
  }

  relayed(received: number): void {
    this.#received += received
    if (!this.#settings.acceptsTruncated) this.transcript.requireComplete(received)
  }
}
