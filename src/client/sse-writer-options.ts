import { checkChoice, checkNames, checkPositive, checkSignal, shown } from '../errors/bad-input.js'
import type { StreamError } from '../errors/stream-error.js'
import type { FramingName } from '../framing/framing.js'
import { framings } from '../framing/framings.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import { readDuration } from '../timeouts/options.js'
import type { AbortSignalLike } from '../timeouts/stop-signal.js'
import type { EventStreamHeadOptions } from './head.js'
import { defaultHeartbeatMs } from './heartbeat.js'
import type { BeatingStream, HeartbeatChoice } from './heartbeat-form.js'

/** Told what happens to the response. */
export interface SSEWriterObserver {
  /** The head is about to be sent. */
  onHead?(): void
  /**
   * An event is about to be written. An error thrown here is thrown by `write()`.
   *
   * @returns `false` to leave the event out
   */
  onEvent?(event: SSEEvent): boolean
  /** These whole events are being written. */
  onWritten?(events: Uint8Array | string, count: number): void
  /** The client has left. @returns whether the stream goes on without it */
  onLeft?(): boolean
  /** The client has to catch up. */
  onDrainStart?(): void
  /** It has. */
  onDrainEnd?(): void
  /** The client has left, does not read at all, or cannot even be sent a head. */
  onDisconnect?(reason: StreamError): void
  /** The state of the client's events so far. */
  readonly transcript?: BeatingStream
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
   * The form of a heartbeat. `'comment'`: always a comment. `'empty-delta'`: an event without content where the API has one,
   * also for Gemini, whose clients take no comments.
   *
   * @defaultValue in a chat or an Anthropic stream that has begun an event without content, nothing for Gemini and NDJSON,
   *   else a comment
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
   * The wire format: server-sent events, or JSON lines (`application/x-ndjson`), of which each holds the data of one event.
   *
   * @defaultValue `'sse'`; where `relay` forwards JSON lines or the dialect has them, `'ndjson'`
   */
  framing?: FramingName | undefined
  /**
   * How many bytes may be buffered for a client that does not read, if the handler does not await its writes.
   *
   * @defaultValue `16 * 1024 * 1024`
   */
  maxBufferedBytes?: number | undefined
}

/** The settings where nothing is set. */
const writerDefaults = {
  heartbeatMs: defaultHeartbeatMs,
  headersAfterMs: 10_000,
  maxBufferedBytes: 16 * 1024 * 1024,
}

/** The names of a writer's options. */
export const writerNames = {
  owner: 'writer.',
  names: [...Object.keys(writerDefaults), 'heartbeat', 'framing', 'headers', 'cors'],
  instead: { commitAfterMs: 'headersAfterMs' },
} as const

/** The parts that a writer is given beside its settings. */
export interface WriterParts {
  signal?: AbortSignalLike | undefined
  observer?: SSEWriterObserver | undefined
}

/** The options, read once. */
export interface WriterSettings extends EventStreamHeadOptions {
  readonly heartbeatMs: number
  readonly headersAfterMs: number
  readonly maxBufferedBytes: number
  readonly heartbeat: HeartbeatChoice
  /** `undefined`: by the dialect, and by the relayed upstream. */
  readonly framing: FramingName | undefined
}

// As Node and `Headers` check them: https://www.rfc-editor.org/rfc/rfc9110#name-fields
const headerName = /^[\w!#$%&'*+.^`|~-]+$/
const headerValue = /^[\t\x20-\x7e\x80-\xff]*$/

/**
 * A header that cannot be sent must fail here, not in the middle of a stream.
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
    if (headerName.test(name) && value !== undefined && headerValue.test(String(value))) continue
    const header = `${JSON.stringify(name)}: ${JSON.stringify(value)}`
    throw new TypeError(`writer.headers: invalid HTTP header ${header}`)
  }
  const isOriginList =
    Array.isArray(cors) && cors.every((origin) => /^[a-z][a-z\d+.-]*:\/\/[^\s/]+$|^null$/i.test(origin))
  if (cors !== undefined && typeof cors !== 'boolean' && !isOriginList) {
    throw new TypeError(`writer.cors must be true, false or a list of origins, got ${shown(cors)}`)
  }
  const hint = typeof options.heartbeat === 'number' ? '; did you mean writer.heartbeatMs?' : ''
  checkChoice('writer.heartbeat', options.heartbeat, ['comment', 'empty-delta'], hint)
  checkChoice('writer.framing', options.framing, Object.keys(framings))
  checkPositive('writer.maxBufferedBytes', maxBufferedBytes)
  const duration = (name: 'heartbeatMs' | 'headersAfterMs') =>
    readDuration(`writer.${name}`, options[name] ?? writerDefaults[name])
  return {
    heartbeatMs: duration('heartbeatMs'),
    headersAfterMs: duration('headersAfterMs'),
    maxBufferedBytes,
    heartbeat: options.heartbeat,
    framing: options.framing,
    ...(headers !== undefined && { headers }),
    ...(cors !== undefined && { cors }),
  }
}
