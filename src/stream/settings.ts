import {
  type CheckedWriterOptions,
  checkWriterOptions,
  type SSEWriterOptions,
} from '../client/sse-writer-options.js'
import { type StreamEnd, warnOnce } from '../diagnostics/channels.js'
import type { StreamDialect } from '../dialects/dialect.js'
import { type DialectName, selectDialect } from '../dialects/index.js'
import { readDuration, resolveTimeouts, type StreamTimeouts } from '../timeouts/options.js'
import { timeoutProfiles } from '../timeouts/profiles.js'
import type { SocketCleanupOptions } from '../upstream/cleanup.js'
import type { RelayOptions } from './relay.js'

/** Nested by owner: where an option stands tells which part of the library reads it. */
export interface StreamOptions {
  /** Default: by what was asked for, see `selectTimeoutProfile`. `false`: no deadline at all. */
  timeouts?: StreamTimeouts | false | undefined
  /** How the response is written. */
  writer?: Omit<SSEWriterOptions, 'signal' | 'observer' | 'clock'> | undefined
  /** How an upstream is read. */
  relay?: Pick<RelayOptions, 'maxEventBytes' | 'onTruncated'> | undefined
  /** `lingerMs` defaults to 1 000. `false`: what the handler opened is left to the handler. */
  cleanup?: Pick<SocketCleanupOptions, 'graceMs' | 'lingerMs'> | false | undefined
  /** How the client's stream ends. Default: by the request's path. */
  dialect?: StreamDialect | DialectName | undefined
  /**
   * Whether a chat that failed ends with `[DONE]` all the same, for clients that wait for it. Default `false`: to
   * a reader that looks for nothing else it says that the answer is complete.
   */
  doneAfterError?: boolean | undefined
  /**
   * `false`: a stream that fails is not told of but cut, as it would be without unhang.
   */
  recovery?: boolean | undefined
  /** Whether a client may read what the upstream says of its errors. Default `false`. */
  exposeDetails?: boolean | undefined
  /** Models that get the `advanced` timeouts. */
  advancedModels?: readonly (string | RegExp)[] | undefined
  /** Called once with the record of every stream that has ended. */
  onEnd?: ((end: StreamEnd) => unknown) | undefined
}

const names: readonly (keyof StreamOptions)[] = [
  'timeouts',
  'writer',
  'relay',
  'cleanup',
  'dialect',
  'doneAfterError',
  'recovery',
  'exposeDetails',
  'advancedModels',
  'onEnd',
]

/**
 * Checks what can be checked before there is a request.
 *
 * @param more names of options that the caller reads itself
 * @throws TypeError | RangeError that names the option and the value
 */
export function checkStreamOptions(options: StreamOptions, more: readonly string[] = []): void {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`options must be an object, got ${String(options)}`)
  }
  for (const name of Object.keys(options)) {
    if ((names as readonly string[]).includes(name) || more.includes(name)) continue
    const hint = ownerOf(name)
    const help = hint ? `did you mean ${hint}?` : `there are ${[...names, ...more].join(', ')}`
    throw new TypeError(`options.${name} is not an option; ${help}`)
  }
  const { timeouts, writer = {}, relay = {}, cleanup, dialect, advancedModels, onEnd } = options
  if (typeof timeouts !== 'function') resolveTimeouts(timeouts, timeoutProfiles.streaming)
  checkNames('writer', writer, writerNames)
  checkNames('relay', relay, ['maxEventBytes', 'onTruncated'])
  if (cleanup !== undefined && cleanup !== false) checkNames('cleanup', cleanup, ['graceMs', 'lingerMs'])
  checkCommitWindow(checkWriterOptions(writer), writer, timeouts)
  for (const name of ['doneAfterError', 'exposeDetails', 'recovery'] as const) {
    const value: unknown = options[name]
    if (value !== undefined && typeof value !== 'boolean') {
      throw new TypeError(`${name} must be true or false, got ${JSON.stringify(value)}`)
    }
  }
  if (advancedModels !== undefined && !isModelList(advancedModels)) {
    throw new TypeError(`advancedModels must be a list of names and patterns, got ${String(advancedModels)}`)
  }
  if (cleanup) {
    for (const name of ['graceMs', 'lingerMs'] as const) {
      if (cleanup[name] !== undefined) readDuration(`cleanup.${name}`, cleanup[name])
    }
  }
  if (relay.onTruncated !== undefined && !['error', 'accept'].includes(relay.onTruncated)) {
    throw new TypeError(`relay.onTruncated must be 'error' or 'accept', got ${String(relay.onTruncated)}`)
  }
  if (relay.maxEventBytes !== undefined && !(relay.maxEventBytes > 0)) {
    throw new TypeError(`relay.maxEventBytes must be a number above 0, got ${String(relay.maxEventBytes)}`)
  }
  if (onEnd !== undefined && typeof onEnd !== 'function') {
    throw new TypeError(`onEnd must be a function, got ${String(onEnd)}`)
  }
  selectDialect(dialect)
}

/** Where an option belongs that was put at the top. */
function ownerOf(name: string): string | undefined {
  if (/^(connect|firstByte|firstEvent|inactivity|stall|drain|total)Ms$/.test(name)) return `timeouts.${name}`
  if (/^(heartbeatMs|heartbeat|commitAfterMs|headers|cors|maxBufferedBytes)$/.test(name))
    return `writer.${name}`
  if (/^(maxEventBytes|onTruncated)$/.test(name)) return `relay.${name}`
  if (/^(lingerMs|graceMs)$/.test(name)) return `cleanup.${name}`
  return name === 'timeout' ? 'timeouts' : undefined
}

function isModelList(value: unknown): boolean {
  return Array.isArray(value) && value.every((model) => typeof model === 'string' || model instanceof RegExp)
}

const writerNames = ['heartbeatMs', 'heartbeat', 'commitAfterMs', 'headers', 'cors', 'maxBufferedBytes']

function checkNames(owner: string, options: object, known: readonly string[]): void {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(
      `${owner} must be an object${owner === 'cleanup' ? ' or false' : ''}, got ${String(options)}`,
    )
  }
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) {
      throw new TypeError(`${owner}.${name} is not an option; there are ${known.join(', ')}`)
    }
  }
}

/** A head that is sent no earlier than the deadline it waits for comes too late for anything. */
function checkCommitWindow(
  { heartbeatMs, commitAfterMs }: CheckedWriterOptions,
  writer: NonNullable<StreamOptions['writer']>,
  timeouts: StreamOptions['timeouts'],
): void {
  const { firstByteMs } = timeouts || {}
  const bothSet = writer.commitAfterMs !== undefined && typeof firstByteMs === 'number'
  if (bothSet && Number.isFinite(commitAfterMs) && commitAfterMs >= firstByteMs) {
    throw new RangeError(
      `writer.commitAfterMs (${commitAfterMs}) must be shorter than timeouts.firstByteMs (${firstByteMs})`,
    )
  }
  if (heartbeatMs > 30_000 && Number.isFinite(heartbeatMs)) {
    warnOnce(
      `writer.heartbeatMs (${heartbeatMs}) is longer than the 30 s after which many load balancers cut a stream`,
    )
  }
}
