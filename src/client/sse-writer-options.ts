import { validateHeaderName, validateHeaderValue } from 'node:http'
import { checkNames, checkSignal, shown } from '../errors/bad-input.js'
import type { StreamError } from '../errors/stream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'
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

/**
 * The options of {@link createSSEWriter}; times are in milliseconds.
 *
 * @example
 * createSSEWriter(response, { heartbeatMs: 10_000, headers: { 'X-Stream': 'progress' }, cors: true })
 */
export interface SSEWriterOptions extends EventStreamHeadOptions {
  /**
   * When it aborts, writes are refused with its reason; `close()` still works. Not set: only the client stops it.
   */
  signal?: AbortSignalLike | undefined
  /**
   * How long the stream may be silent before a heartbeat is sent. `false` or `Infinity`: no heartbeats.
   *
   * @defaultValue `15_000`
   */
  heartbeatMs?: number | false | undefined
  /**
   * What a heartbeat is: a comment, or, once a chat has begun, a chunk with an empty delta. `'empty-delta'` is for
   * clients that read nothing but `data:` lines.
   *
   * @defaultValue `'comment'`
   */
  heartbeat?: 'comment' | 'empty-delta' | undefined
  /**
   * How long to hold back the response headers while waiting for the first event, so that an early failure can still
   * get a real status. Then they are sent with a heartbeat. `false` or `Infinity`: never before the first event.
   *
   * @defaultValue `10_000`
   */
  headersAfterMs?: number | false | undefined
  /**
   * How many bytes may be buffered for a client that does not read, if the handler does not await its writes.
   *
   * @defaultValue `16 * 1024 * 1024`
   */
  maxBufferedBytes?: number | undefined
}

/** What applies where nothing is set. */
const writerDefaults = {
  heartbeatMs: defaultHeartbeatMs,
  headersAfterMs: 10_000,
  maxBufferedBytes: 16 * 1024 * 1024,
}

/** What stands in the options of a writer. */
export const writerNames = {
  owner: 'writer.',
  names: [...Object.keys(writerDefaults), 'heartbeat', 'headers', 'cors'],
  instead: { commitAfterMs: 'headersAfterMs' },
} as const

/** The options, read once. */
export interface WriterSettings extends EventStreamHeadOptions {
  readonly heartbeatMs: number
  readonly headersAfterMs: number
  readonly maxBufferedBytes: number
  readonly heartbeat: 'comment' | 'empty-delta'
}

/**
 * A header that cannot be sent must fail here, not in the middle of somebody's stream.
 *
 * @param more names that the caller reads itself
 * @throws TypeError that names the option and the value
 */
export function checkWriterOptions(options: SSEWriterOptions, more: readonly string[]): WriterSettings {
  checkNames(options, { ...writerNames, names: [...writerNames.names, ...more] })
  const { headers, cors, maxBufferedBytes = writerDefaults.maxBufferedBytes } = options
  checkSignal('writer.signal', options.signal)
  const isHeaders = typeof headers === 'object' && headers !== null && !Array.isArray(headers)
  if (headers !== undefined && headers !== false && !isHeaders) {
    throw new TypeError(`writer.headers must be an object or false, got ${shown(headers)}`)
  }
  for (const [name, value] of Object.entries(headers || {})) {
    try {
      validateHeaderName(name)
      validateHeaderValue(name, value)
    } catch (cause) {
      const header = `${JSON.stringify(name)}: ${JSON.stringify(value)}`
      throw new TypeError(`writer.headers: invalid HTTP header ${header}`, { cause })
    }
  }
  const isOriginList =
    Array.isArray(cors) && cors.every((origin) => /^[a-z][a-z\d+.-]*:\/\/[^\s/]+$|^null$/i.test(origin))
  if (cors !== undefined && typeof cors !== 'boolean' && !isOriginList) {
    throw new TypeError(`writer.cors must be true, false or a list of origins, got ${shown(cors)}`)
  }
  if (options.heartbeat !== undefined && !['comment', 'empty-delta'].includes(options.heartbeat)) {
    const hint = typeof options.heartbeat === 'number' ? '; did you mean writer.heartbeatMs?' : ''
    throw new TypeError(
      `writer.heartbeat must be 'comment' or 'empty-delta', got ${shown(options.heartbeat)}${hint}`,
    )
  }
  if (typeof maxBufferedBytes !== 'number' || !(maxBufferedBytes > 0)) {
    throw new TypeError(`writer.maxBufferedBytes must be a number above 0, got ${shown(maxBufferedBytes)}`)
  }
  return {
    heartbeatMs: readDuration('writer.heartbeatMs', options.heartbeatMs ?? writerDefaults.heartbeatMs),
    headersAfterMs: readDuration(
      'writer.headersAfterMs',
      options.headersAfterMs ?? writerDefaults.headersAfterMs,
    ),
    maxBufferedBytes,
    heartbeat: options.heartbeat ?? 'comment',
    ...(headers !== undefined && { headers }),
    ...(cors !== undefined && { cors }),
  }
}
