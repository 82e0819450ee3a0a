import type { IncomingHttpHeaders } from 'node:http'
import { withinClientTimeout } from '../client/request-hints.js'
import {
  checkWriterOptions,
  type SSEWriterOptions,
  type WriterSettings,
  writerDefaults,
} from '../client/sse-writer-options.js'
import { type StreamEnd, warnOnce } from '../diagnostics/channels.js'
import type { StreamDialect } from '../dialects/dialect.js'
import { type DialectName, selectDialect } from '../dialects/index.js'
import {
  type ResolvedTimeouts,
  readDuration,
  resolveTimeouts,
  type StreamTimeouts,
  timeoutNames,
} from '../timeouts/options.js'
import { selectTimeoutProfile, timeoutProfiles } from '../timeouts/profiles.js'
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

/** The options, read once and handed on. */
export interface StreamSettings {
  readonly timeouts: StreamTimeouts | false | undefined
  readonly writer: WriterSettings
  readonly maxEventBytes: number | undefined
  /** Whether an upstream that ends without saying that its answer is complete is good enough. */
  readonly acceptsTruncated: boolean
  readonly cleanup: SocketCleanupOptions | false
  /** `undefined`: by the request. */
  readonly dialect: StreamDialect | undefined
  readonly doneAfterError: boolean
  readonly reportsErrors: boolean
  readonly exposeDetails: boolean
  readonly advancedModels: readonly (string | RegExp)[] | undefined
  readonly onEnd: ((end: StreamEnd) => unknown) | undefined
}

const owners: Record<string, readonly string[]> = {
  timeouts: timeoutNames,
  writer: [...Object.keys(writerDefaults), 'heartbeat', 'headers', 'cors'],
  relay: ['maxEventBytes', 'onTruncated'],
  cleanup: ['lingerMs', 'graceMs'],
}

const flags = ['doneAfterError', 'exposeDetails', 'recovery'] as const
const names = [...Object.keys(owners), 'dialect', ...flags, 'advancedModels', 'onEnd']

/**
 * Reads what can be read before there is a request.
 *
 * @param more names of options that the caller reads itself
 * @throws TypeError | RangeError that names the option and the value
 */
export function readStreamOptions(options: StreamOptions, more: readonly string[] = []): StreamSettings {
  checkObject('options', options)
  for (const name of Object.keys(options)) {
    if (names.includes(name) || more.includes(name)) continue
    const hint = ownerOf(name)
    const help = hint ? `did you mean ${hint}?` : `there are ${[...names, ...more].join(', ')}`
    throw new TypeError(`options.${name} is not an option; ${help}`)
  }
  const { timeouts, writer = {}, relay = {}, cleanup = {}, advancedModels, onEnd } = options
  resolveTimeouts(timeouts, timeoutProfiles.streaming)
  checkNames('writer', writer)
  checkNames('relay', relay)
  if (cleanup !== false) checkNames('cleanup', cleanup)
  const settings = checkWriterOptions(writer)
  checkCommitWindow(settings, writer, timeouts)
  for (const name of flags) {
    const value: unknown = options[name]
    if (value !== undefined && typeof value !== 'boolean') {
      throw new TypeError(`${name} must be true or false, got ${JSON.stringify(value)}`)
    }
  }
  if (advancedModels !== undefined && !isModelList(advancedModels)) {
    throw new TypeError(`advancedModels must be a list of names and patterns, got ${String(advancedModels)}`)
  }
  for (const name of ['graceMs', 'lingerMs'] as const) {
    if (cleanup && cleanup[name] !== undefined) readDuration(`cleanup.${name}`, cleanup[name])
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
  const dialect = selectDialect(options.dialect)
  return {
    timeouts,
    writer: settings,
    maxEventBytes: relay.maxEventBytes,
    acceptsTruncated: relay.onTruncated === 'accept',
    cleanup,
    dialect: options.dialect === undefined ? undefined : dialect,
    doneAfterError: options.doneAfterError ?? false,
    reportsErrors: options.recovery ?? true,
    exposeDetails: options.exposeDetails ?? false,
    advancedModels,
    onEnd,
  }
}

/** The timeouts of one request: by its model, and never longer than its client waits. */
export function timeoutsFor(
  { timeouts, advancedModels }: StreamSettings,
  request: { model: string | undefined; headers: IncomingHttpHeaders },
): ResolvedTimeouts {
  const choice = { streaming: true, model: request.model }
  const profile = selectTimeoutProfile(choice, advancedModels ? { advancedModels } : {})
  return withinClientTimeout(resolveTimeouts(timeouts, profile), request.headers)
}

/** Where an option belongs that was put at the top. */
function ownerOf(name: string): string | undefined {
  const owner = Object.keys(owners).find((each) => owners[each]?.includes(name))
  if (owner) return `${owner}.${name}`
  return name === 'timeout' ? 'timeouts' : undefined
}

function isModelList(value: unknown): boolean {
  return Array.isArray(value) && value.every((model) => typeof model === 'string' || model instanceof RegExp)
}

function checkObject(owner: string, options: unknown): void {
  if (typeof options === 'object' && options !== null) return
  const expected = owner === 'cleanup' ? 'an object or false' : 'an object'
  throw new TypeError(`${owner} must be ${expected}, got ${String(options)}`)
}

function checkNames(owner: string, options: object): void {
  checkObject(owner, options)
  const known = owners[owner] ?? []
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) {
      throw new TypeError(`${owner}.${name} is not an option; there are ${known.join(', ')}`)
    }
  }
}

/** A head that is sent no earlier than the deadline it waits for comes too late for anything. */
function checkCommitWindow(
  { heartbeatMs, commitAfterMs }: WriterSettings,
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
