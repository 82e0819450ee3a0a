import { unlessReady } from '../client/catching-up.js'
import type { ResponseWriter } from '../client/response-writer.js'
import type { SSEWriter } from '../client/sse-writer.js'
import type { EventRole, StreamDialect } from '../dialects/dialect.js'
import { type DialectName, selectDialect } from '../dialects/index.js'
import { Transcript } from '../dialects/transcript.js'
import { checkChoice, checkFunction, checkNames, checkPositive, shown } from '../errors/bad-input.js'
import { StreamError } from '../errors/stream-error.js'
import { reportedError } from '../errors/upstream-report.js'
import type { Framing } from '../framing/framing.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import type { AbortSignalLike } from '../timeouts/stop-signal.js'
import { eachChunk } from '../upstream/chunks.js'
import { framingOfSource, openEventStream } from '../upstream/open-event-stream.js'
import type { ReadEventStreamOptions } from '../upstream/reading-options.js'
import { openSource, type UpstreamSource } from '../upstream/source.js'
import { type EventMap, MappedRelay } from './mapped.js'
import { PassThroughRelay } from './pass-through.js'
import type { EventSink, Relay, RelayClock, RelayTarget } from './relay-target.js'

export type { EventMap }

/**
 * The options of {@link relayEventStream}.
 *
 * @example
 * await relayEventStream(upstream, createSSEWriter(response), { dialect: 'openaiChat', onTruncated: 'accept' })
 */
export interface RelayOptions extends Omit<ReadEventStreamOptions, 'signal'> {
  /** Turns each event into what the client gets. Not set: the upstream's bytes are forwarded unchanged. */
  map?: EventMap | undefined
  /** How the client's stream ends. Not set: it ends when the upstream ends. */
  dialect?: StreamDialect | DialectName | undefined
  /**
   * Whether an upstream may end without a terminal event. `'accept'` is for upstreams that never send one.
   *
   * @defaultValue `'error'`
   */
  onTruncated?: 'error' | 'accept' | undefined
}

const relayNames: readonly (keyof RelayOptions)[] = [
  'map',
  'dialect',
  'onTruncated',
  'maxEventBytes',
  'onChunk',
]

/** The result of a relay. */
export interface RelayResult {
  /** Events that came from the upstream. */
  received: number
  /** Whether the stream said that it was complete. */
  sawTerminal: boolean
}

/**
 * Forwards an upstream's event stream to a client, and stops reading while the client has to catch up.
 *
 * Without a `map` the bytes stay unchanged, one complete event at a time. It returns at the terminal event, or when
 * the upstream ends. It closes neither the writer nor the upstream.
 *
 * @throws UpstreamError | StreamError as {@link readEventStream}, and `upstream_truncated`; the reason of
 *   `writer.signal` when that aborts
 * @throws TypeError that names the option and the value
 * @example
 * const writer = createSSEWriter(response)
 * await relayEventStream(await fetch(url, { signal: writer.signal }), writer, { dialect: 'openaiChat' })
 * writer.close()
 */
export async function relayEventStream(
  source: UpstreamSource,
  writer: SSEWriter,
  options: RelayOptions = {},
): Promise<RelayResult> {
  const { forward, write, signal } = Object(writer) as Partial<SSEWriter>
  if (typeof forward !== 'function' || typeof write !== 'function' || !signal) {
    const call = 'relayEventStream(source, writer)'
    throw new TypeError(`${call} takes the result of createSSEWriter(response), got ${shown(writer)}`)
  }
  checkNames(options, { owner: 'options.', names: relayNames })
  checkRelaying('', options)
  checkFunction('onChunk', options.onChunk)
  return relayInto(new WriterTarget(writer, options), source, options)
}

/** @throws TypeError that names the option and the value */
export function checkRelaying(owner: string, { maxEventBytes, onTruncated }: RelayOptions): void {
  checkPositive(`${owner}maxEventBytes`, maxEventBytes)
  checkChoice(`${owner}onTruncated`, onTruncated, ['error', 'accept'])
}

/** As `relayEventStream`, to wherever the target leads. One promise for all of it: a stream waits here for minutes. */
export async function relayInto(
  target: RelayTarget,
  source: UpstreamSource | PromiseLike<UpstreamSource>,
  { map, maxEventBytes }: RelayOptions,
): Promise<RelayResult> {
  checkFunction('map', map)
  const { stopSignal: signal } = target
  const upstream = await target.open(source)
  const body = await openEventStream(upstream, { signal, onChunk: (chunk) => target.clock.touch(chunk) })
  const relay = relayOf(upstream, target, map, maxEventBytes)
  await eachChunk(body, signal, relay).taken
  await relay.finish()
  const { received } = relay
  target.relayed(received)
  return { received, sawTerminal: target.transcript?.sawTerminal ?? false }
}

function relayOf(
  upstream: UpstreamSource,
  target: RelayTarget,
  map: EventMap | undefined,
  maxEventBytes: number | undefined,
): Relay {
  const framing = framingOfSource(upstream)
  if (map) return new MappedRelay(target, map, framing, maxEventBytes)
  const { status } = openSource(upstream)
  if (target.follow({ status, framing }) === framing)
    return new PassThroughRelay(target, framing, maxEventBytes)
  return new MappedRelay(target, undefined, framing, maxEventBytes)
}

/** The way to a client whose stream belongs to other code. */
class WriterTarget implements RelayTarget, EventSink {
  readonly sink = this
  readonly clock: RelayClock
  readonly transcript: Transcript | undefined
  readonly dialect: StreamDialect | undefined
  readonly #writer: ResponseWriter
  readonly #options: RelayOptions

  constructor(writer: SSEWriter, options: RelayOptions) {
    const { onChunk } = options
    const dialect = options.dialect === undefined ? undefined : selectDialect(options.dialect)
    // All writers are ours.
    this.#writer = writer as ResponseWriter
    this.#options = options
    this.clock = { touch: (chunk) => onChunk?.(chunk), content() {} }
    this.dialect = dialect
    this.transcript = dialect && new Transcript(dialect, undefined, this.#writer)
  }

  get stopSignal(): AbortSignalLike {
    return this.#writer.signal
  }

  get committed(): boolean {
    return this.#writer.headersSent
  }

  open(source: UpstreamSource | PromiseLike<UpstreamSource>): UpstreamSource | PromiseLike<UpstreamSource> {
    return source
  }

  relayed(received: number): void {
    if (this.#options.onTruncated === 'accept') return
    if (this.transcript) this.transcript.requireComplete(received)
    else if (received === 0) throw new StreamError('upstream_truncated')
  }

  observe(event: SSEEvent): EventRole | undefined {
    if (event.id) this.#writer.sawId = true
    return this.transcript?.observe(event)
  }

  accept(events: Uint8Array | string, count: number): Promise<void> | undefined {
    const before = this.#writer.events
    const written = this.#writer.forward(events, count)
    return this.transcript?.sawTerminal && this.#writer.events > before ? undefined : unlessReady(written)
  }

  follow(upstream: { status: number | undefined; framing: Framing }): Framing {
    this.#writer.head.follow(upstream)
    return this.#writer.framing
  }

  encode(event: SSEEvent): string {
    return this.transcript?.encode(event) ?? this.#writer.encode(event)
  }

  write(event: SSEEvent): Promise<void> | undefined {
    if (this.observe(event) === 'error') throw reportedError(event.data)
    return unlessReady(this.#writer.write(event))
  }
}
