import { unlessAtOnce } from './drain.js'
import { StreamError } from './errors.js'
import type { EventSourceMessage } from './event-stream-parser.js'
import { FollowedEvents } from './followed-events.js'
import type { ReadEventStreamOptions } from './open-event-stream.js'
import { passThrough, type RelaySink } from './pass-through.js'
import type { SSEEvent } from './sse-encode.js'
import type { SSEWriter } from './sse-writer.js'
import type { StreamDialect } from './stream-dialect.js'
import { translate } from './translate.js'
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
    get differing() {
      return followed?.differing
    },
    get isContent() {
      return followed?.isContent ?? false
    },
    observe: (event) => followed?.observe(event),
    repeats: (event) => followed?.repeats(event) ?? false,
    repeated: () => {},
    reportedToClient: () => {},
    toEvents: (answer) => options.dialect?.answers?.toEvents(answer),
    forward: (events, count) => unlessAtOnce(writer.forward(events, count)),
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
