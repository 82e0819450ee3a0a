import { validateHeaderName, validateHeaderValue } from 'node:http'
import type { StreamError } from '../errors/stream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import type { Clock } from '../timeouts/clock.js'
import { readDuration } from '../timeouts/options.js'
import type { AbortSignalLike } from '../timeouts/stop-signal.js'
import type { EventStreamHeadOptions } from './head.js'
import { defaultHeartbeatMs } from './heartbeat.js'

/** Told what happens to the response. */
export interface SSEWriterObserver {
  /** The head is about to be sent. */
  onHead?(): void
  /**
   * An event is about to be written. What it throws, `write()` throws.
   *
   * @returns `false` to leave the event out
   */
  onEvent?(event: SSEEvent): boolean
  /** The client has to catch up. */
  onDrainStart?(): void
  /** It has. */
  onDrainEnd?(): void
  /** The client has left, does not read at all, or cannot even be sent a head. */
  onDisconnect?(reason: StreamError): void
  /** An event to send for a heartbeat; `undefined` for a comment. */
  emptyDelta?(): SSEEvent | undefined
}

/** The options of {@link createSSEWriter}. */
export interface SSEWriterOptions extends EventStreamHeadOptions {
  /** When it aborts, writes are refused with its reason; `close()` still works. */
  signal?: AbortSignalLike | undefined
  /** How long the stream may be silent before a comment is sent. Default 15 000; `Infinity` for never. */
  heartbeatMs?: number | false
  /**
   * What a heartbeat is: a comment, which every client measured takes, or, once a chat has begun, a chunk with
   * an empty delta, for readers that know nothing but `data:` lines. Default `'comment'`.
   */
  heartbeat?: 'comment' | 'empty-delta' | undefined
  /**
   * How long the head waits for the first event, so that a failure can still have a status of its own; then it
   * is sent with a heartbeat. Default 10 000; `Infinity` for never early.
   */
  commitAfterMs?: number | false
  /** How much may wait for a client that does not read, if writes are not awaited. Default 16 MiB. */
  maxBufferedBytes?: number
  /** Told what happens to the response. */
  observer?: SSEWriterObserver
  /** Default: the process' own. */
  clock?: Clock
}

/** What applies where nothing is set. */
export const writerDefaults = {
  heartbeatMs: defaultHeartbeatMs,
  commitAfterMs: 10_000,
  maxBufferedBytes: 16 * 1024 * 1024,
}

/** The options, read once. */
export interface WriterSettings extends EventStreamHeadOptions {
  readonly heartbeatMs: number
  readonly commitAfterMs: number
  readonly maxBufferedBytes: number
  readonly heartbeat: 'comment' | 'empty-delta'
}

/**
 * A header that cannot be sent must fail here, not in the middle of somebody's stream.
 *
 * @throws TypeError that names the option and the value
 */
export function checkWriterOptions(options: SSEWriterOptions): WriterSettings {
  const { headers, cors, maxBufferedBytes = writerDefaults.maxBufferedBytes } = options
  for (const [name, value] of Object.entries(headers || {})) {
    try {
      validateHeaderName(name)
      validateHeaderValue(name, value)
    } catch (cause) {
      const header = `${JSON.stringify(name)}: ${JSON.stringify(value)}`
      throw new TypeError(`writer.headers holds what is no HTTP header, got ${header}`, { cause })
    }
  }
  const isOriginList =
    Array.isArray(cors) && cors.every((origin) => /^[a-z][a-z\d+.-]*:\/\/[^\s/]+$|^null$/i.test(origin))
  if (cors !== undefined && typeof cors !== 'boolean' && !isOriginList) {
    throw new TypeError(`writer.cors must be true, false or a list of origins, got ${JSON.stringify(cors)}`)
  }
  if (options.heartbeat !== undefined && !['comment', 'empty-delta'].includes(options.heartbeat)) {
    throw new TypeError(
      `writer.heartbeat must be 'comment' or 'empty-delta', got ${JSON.stringify(options.heartbeat)}`,
    )
  }
  if (!(maxBufferedBytes > 0)) {
    throw new TypeError(`writer.maxBufferedBytes must be a number above 0, got ${String(maxBufferedBytes)}`)
  }
  return {
    heartbeatMs: readDuration('writer.heartbeatMs', options.heartbeatMs ?? writerDefaults.heartbeatMs),
    commitAfterMs: readDuration(
      'writer.commitAfterMs',
      options.commitAfterMs ?? writerDefaults.commitAfterMs,
    ),
    maxBufferedBytes,
    heartbeat: options.heartbeat ?? 'comment',
    ...(headers !== undefined && { headers }),
    ...(cors !== undefined && { cors }),
  }
}
