import type { SSEWriterOptions, WriterSettings } from '../client/sse-writer-options.js'
import { checkWriterOptions, writerNames } from '../client/sse-writer-options.js'
import { type StreamEnd, warnOnce } from '../diagnostics/channels.js'
import type { StreamDialect } from '../dialects/dialect.js'
import { type DialectName, selectDialect } from '../dialects/index.js'
import { checkFlag, checkFunction, checkNames, checkObject, type KnownNames } from '../errors/bad-input.js'
import type { StreamTimeouts } from '../timeouts/options.js'
import { otherTimeoutNames, readDuration, resolveTimeouts, timeoutNames } from '../timeouts/options.js'
import { checkModels, type TimeoutProfileName, timeoutProfiles } from '../timeouts/profiles.js'
import type { SocketCleanupOptions } from '../upstream/cleanup.js'
import { checkRelaying, type RelayOptions } from './relay.js'
import { checkResume, type ResumeTarget } from './resume-target.js'

/**
 * The options of every streaming function, nested by the part that reads them; times are in milliseconds.
 *
 * @example
 * const options: StreamOptions = {
 *   timeouts: { firstByteMs: 60_000, totalMs: 600_000 },
 *   writer: { headersAfterMs: 5_000 },
 *   onEnd: ({ outcome, durationMs }) => console.log(outcome, durationMs),
 * }
 */
export interface StreamOptions {
  /**
   * The deadlines of the stream, or a profile by its name. `false`: no deadline at all.
   *
   * @defaultValue the `streaming` profile, or `advanced` for {@link StreamOptions.advancedModels}
   */
  timeouts?: StreamTimeouts | TimeoutProfileName | false | undefined
  /** How the response is written. @defaultValue the defaults of {@link SSEWriterOptions} */
  writer?: Omit<SSEWriterOptions, 'signal'> | undefined
  /** How an upstream is read. @defaultValue `{ maxEventBytes: 8 * 1024 * 1024, onTruncated: 'error' }` */
  relay?: Pick<RelayOptions, 'maxEventBytes' | 'onTruncated'> | undefined
  /**
   * How upstreams are released. `false`: your handler releases what it opened.
   *
   * @defaultValue `{ closeMs: 1_000, lingerMs: 1_000 }`
   */
  cleanup?: Pick<SocketCleanupOptions, 'closeMs' | 'lingerMs'> | false | undefined
  /** How the client's stream ends, and how it reports errors. @defaultValue by the request's path */
  dialect?: StreamDialect | DialectName | undefined
  /**
   * Whether to send `[DONE]` after an error event, too. A client that looks for nothing else then takes the answer
   * for complete.
   *
   * @defaultValue `false`
   */
  doneAfterError?: boolean | undefined
  /**
   * Whether to report failures to the client. `false`: the connection is cut instead, as without unhang.
   *
   * @defaultValue `true`
   */
  reportErrors?: boolean | undefined
  /**
   * Whether the client may read the upstream's own error messages. `false`: it gets a status and a generic message.
   *
   * @defaultValue `false`
   */
  exposeUpstreamErrors?: boolean | undefined
  /** Models that get the `advanced` timeouts: exact names, or patterns. @defaultValue {@link advancedModels} */
  advancedModels?: readonly (string | RegExp)[] | undefined
  /**
   * Records the streams, so that a client that has lost its connection can rejoin its stream; see `createResume` of
   * `unhang/resume`. Not set: nothing is recorded.
   */
  resume?: ResumeTarget | undefined
  /**
   * Called once with the record of every stream that has ended. Return `true` if you have reported a handler's own failure:
   * unhang then does not print it. Not set: nothing is called.
   */
  onEnd?: ((end: StreamEnd) => unknown) | undefined
}

/** Options as they were given. */
export interface GivenOptions extends StreamOptions {
  /** Those of a guard around, which are their defaults. */
  readonly outer?: GivenOptions | undefined
}

/** The options, read once and handed on. */
export interface StreamSettings {
  readonly given: GivenOptions
  readonly timeouts: StreamTimeouts | TimeoutProfileName | false | undefined
  readonly writer: WriterSettings
  readonly maxEventBytes: number | undefined
  /** Whether an upstream that ends without saying that its answer is complete is good enough. */
  readonly acceptsTruncated: boolean
  readonly cleanup: SocketCleanupOptions | false
  /** `undefined`: by the request. */
  readonly dialect: StreamDialect | undefined
  readonly doneAfterError: boolean
  readonly reportsErrors: boolean
  readonly exposeUpstreamErrors: boolean
  readonly advancedModels: readonly (string | RegExp)[] | undefined
  readonly onEnd: ((end: StreamEnd) => unknown) | undefined
  readonly resume: ResumeTarget | undefined
  /** The id of the recorded stream whose events are sent. */
  readonly follows?: string
}

const relayNames: KnownNames = { owner: 'relay.', names: ['maxEventBytes', 'onTruncated'] }
const cleanupNames: KnownNames = {
  owner: 'cleanup.',
  names: ['lingerMs', 'closeMs'] satisfies (keyof SocketCleanupOptions)[],
  instead: { graceMs: 'closeMs' },
}

/** The objects among the options, and the names in each. */
const owners: readonly KnownNames[] = [
  { owner: 'timeouts.', names: timeoutNames, instead: otherTimeoutNames },
  writerNames,
  relayNames,
  cleanupNames,
]

const flags = ['doneAfterError', 'exposeUpstreamErrors', 'reportErrors'] as const
const names = [
  'timeouts',
  'writer',
  'relay',
  'cleanup',
  'dialect',
  ...flags,
  'advancedModels',
  'onEnd',
  'resume',
]

/** Names that are often written at the top instead of in their object, and older names. */
const instead: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    owners.flatMap(({ owner, names: own, instead: before = {} }) => [
      ...Object.entries(before).map(([name, now]) => [name, owner + now]),
      ...own.map((name) => [name, owner + name]),
    ]),
  ),
  retries: 'openUpstream(…, { retries })',
  recovery: 'reportErrors',
  exposeDetails: 'exposeUpstreamErrors',
  timeout: 'timeouts: { totalMs }',
  heartbeat: 'writer: { heartbeatMs }',
}

/**
 * Reads the options that can be read before there is a request.
 *
 * @param more names of options that the caller reads itself
 * @throws TypeError | RangeError that names the option and the value
 */
export function readStreamOptions(options: StreamOptions, more: readonly string[] = []): StreamSettings {
  checkNames(options, { owner: 'options.', names: [...names, ...more], instead })
  const { timeouts, writer = {}, relay = {}, cleanup = {}, advancedModels } = options
  resolveTimeouts(timeouts, timeoutProfiles.streaming)
  checkNames(relay, relayNames)
  if (cleanup !== false) {
    checkObject('cleanup', cleanup, 'an object or false')
    checkNames(cleanup, cleanupNames)
  }
  checkHeadersWindow(checkWriterOptions(writer, []), writer, timeouts)
  for (const name of flags) checkFlag(name, options[name])
  checkModels(advancedModels)
  for (const name of ['closeMs', 'lingerMs'] as const) {
    if (cleanup && cleanup[name] !== undefined) readDuration(`cleanup.${name}`, cleanup[name])
  }
  checkRelaying('relay.', relay)
  checkFunction('onEnd', options.onEnd)
  checkResume(options.resume)
  if (options.resume && writer.heartbeat === 'empty-delta') {
    throw new TypeError(
      "writer.heartbeat 'empty-delta' does not go with resume, whose clients count events: leave it out",
    )
  }
  return toSettings(options)
}

/** Options that have been checked. */
export function toSettings(options: StreamOptions): StreamSettings {
  const { timeouts, writer = {}, relay = {}, cleanup = {}, advancedModels, onEnd, resume } = options
  const checked = checkWriterOptions(writer, [])
  const dialect = selectDialect(options.dialect)
  return {
    given: options,
    timeouts,
    // A client that may rejoin its stream counts events: no heartbeat may be one.
    writer: resume ? { ...checked, heartbeat: 'comment' } : checked,
    maxEventBytes: relay.maxEventBytes,
    acceptsTruncated: relay.onTruncated === 'accept',
    cleanup,
    dialect: options.dialect === undefined ? undefined : dialect,
    doneAfterError: options.doneAfterError ?? false,
    reportsErrors: options.reportErrors ?? true,
    exposeUpstreamErrors: options.exposeUpstreamErrors ?? false,
    advancedModels,
    onEnd,
    resume,
  }
}

/** A head that is sent no earlier than the deadline it waits for comes too late for anything. */
function checkHeadersWindow(
  { heartbeatMs, headersAfterMs }: WriterSettings,
  writer: NonNullable<StreamOptions['writer']>,
  timeouts: StreamOptions['timeouts'],
): void {
  const { firstByteMs } = typeof timeouts === 'object' ? timeouts : {}
  const bothSet = writer.headersAfterMs !== undefined && typeof firstByteMs === 'number'
  if (bothSet && Number.isFinite(headersAfterMs) && headersAfterMs >= firstByteMs) {
    throw new RangeError(
      `writer.headersAfterMs (${headersAfterMs}) must be shorter than timeouts.firstByteMs (${firstByteMs})`,
    )
  }
  if (heartbeatMs > 30_000 && Number.isFinite(heartbeatMs)) {
    warnOnce(
      `writer.heartbeatMs (${heartbeatMs}) is longer than the 30 s after which many load balancers cut a stream`,
    )
  }
}
