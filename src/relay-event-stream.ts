import { unlessAtOnce } from './drain.js'
import { StreamError } from './errors.js'
import { type EventSourceMessage, EventStreamParser } from './event-stream-parser.js'
import { FollowedEvents } from './followed-events.js'
import type { ReadEventStreamOptions } from './open-event-stream.js'
import { type PassThroughSink, passThrough } from './pass-through.js'
import type { SSEEvent } from './sse-encode.js'
import type { SSEWriter } from './sse-writer.js'
import type { StreamDialect } from './stream-dialect.js'
import { takeEventStream } from './take-event-stream.js'
import type { UpstreamSource } from './upstream-source.js'

/** Turns one event of the upstream into what the client gets: one event, several, or none. */
export type EventMap = (event: EventSourceMessage) => SSEEvent | readonly SSEEvent[] | null | undefined

export interface RelayOptions extends Omit<ReadEventStreamOptions, 'signal'> {
  /** Default: none; the upstream's bytes are passed on as they are. */
  map?: EventMap | undefined
  /** How the client's stream ends; without one, the upstream's end is the end. */
  dialect?: StreamDialect | undefined
  /**
   * What to do when the upstream ends without saying that the answer is complete. Default `'error'`;
   * `'accept'` for upstreams that never say so.
   */
  onTruncated?: 'error' | 'accept' | undefined
}

export interface RelayResult {
  /** Events that came from the upstream. */
  received: number
  /** Whether the stream said that it is complete. */
  sawTerminal: boolean
}

/** Where relayed events go. */
export type RelaySink = PassThroughSink

/**
 * Relays an upstream's event stream to a client: every event of a chunk in one write, and no reading on while
 * the client has to catch up. Without a `map` the bytes stay as they are. Returns at the terminal event, or when
 * the upstream ends. Neither the writer nor the upstream is closed: that is for whoever opened them.
 *
 * @throws UpstreamError | StreamError as `readEventStream`, and `upstream_truncated`; the reason of
 *   `writer.signal` when that aborts
 */
export async function relayEventStream(
  source: UpstreamSource,
  writer: SSEWriter,
  options: RelayOptions = {},
): Promise<RelayResult> {
  const followed = options.dialect && new FollowedEvents(options.dialect)
  const sink: RelaySink = {
    signal: writer.signal,
    get committed() {
      return writer.committed
    },
    get reported() {
      return followed?.reported
    },
    observe: (event) => followed?.observe(event),
    toEvents: (answer) => options.dialect?.answers?.toEvents(answer),
    forward: (bytes, events) => unlessAtOnce(writer.forward(bytes, events)),
    get ended() {
      return followed?.sawTerminal ?? false
    },
    write(event) {
      followed?.observe(event)
      if (followed?.reported) throw followed.reported
      return unlessAtOnce(writer.write(event))
    },
  }
  const received = await relayInto(sink, source, options)
  if (options.onTruncated !== 'accept') {
    if (followed) followed.requireComplete(received)
    else if (received === 0) throw new StreamError('upstream_truncated')
  }
  return { received, sawTerminal: sink.ended }
}

/** @returns how many events came */
export function relayInto(sink: RelaySink, source: UpstreamSource, options: RelayOptions): Promise<number> {
  const { map, ...rest } = options
  return map ? translate(sink, source, map, rest) : passThrough(sink, source, rest)
}

async function translate(
  sink: RelaySink,
  source: UpstreamSource,
  map: EventMap,
  options: RelayOptions,
): Promise<number> {
  let received = 0
  let ready: Promise<void> | undefined
  const write = (event: SSEEvent) => {
    if (!sink.ended) ready = sink.write(event)
  }
  const take = (event: EventSourceMessage) => {
    if (sink.ended) return
    received++
    const mapped = map(event)
    if (!mapped) return
    if (Array.isArray(mapped)) mapped.forEach(write)
    else if ('then' in Object(mapped)) throw new TypeError('map must not be async: loop over read() instead')
    else write(mapped as SSEEvent)
  }
  const parser = new EventStreamParser(take, options.maxEventBytes)
  const instead = await takeEventStream(source, { ...options, signal: sink.signal }, (chunk) => {
    ready = undefined
    parser.feed(chunk)
    parser.check()
    return sink.ended ? false : ready
  })
  if (sink.ended) return received
  if (!instead) {
    parser.end()
    return received
  }
  // An answer in the client's own format needs no translation; any other is the one event of its stream.
  for (const event of sink.toEvents(instead.json) ?? []) await sink.write(event)
  if (!sink.ended) take({ data: instead.text, event: undefined, id: undefined })
  return Math.max(received, 1)
}
