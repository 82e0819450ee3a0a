import { warnOnce } from '../diagnostics/channels.js'
import { checkNames, checkObject, nearest, shown } from '../errors/bad-input.js'
import { type TimeoutProfileName, timeoutProfiles } from './profiles.js'

/**
 * The deadlines of a stream in milliseconds, each above 0; `Infinity` or `false` switches one off.
 *
 * @example
 * app.use(guardStreams({ timeouts: { firstByteMs: 180_000, inactivityMs: 90_000, upstreamStallMs: false } }))
 */
export interface StreamTimeouts {
  /** The time from the connection attempt to the connection, including TLS. @defaultValue `10_000` */
  connectMs?: number | false | undefined
  /**
   * The time from the start to the first byte of the upstream's response.
   *
   * @defaultValue `120_000` (`advanced`: `300_000`)
   */
  firstByteMs?: number | false | undefined
  /**
   * The time from the start to the first event with content. Pings and empty deltas do not count.
   *
   * @defaultValue `false`
   */
  firstEventMs?: number | false | undefined
  /**
   * The maximum silence of the upstream in the middle of an answer; any byte ends it.
   *
   * @defaultValue `60_000` (`advanced`: `120_000`)
   */
  inactivityMs?: number | false | undefined
  /** The maximum time without an event that has content, despite any pings. @defaultValue `false` */
  upstreamStallMs?: number | false | undefined
  /** The maximum time that a client may take without reading anything. @defaultValue `30_000` */
  clientStallMs?: number | false | undefined
  /** The time for the whole stream; nothing extends it. @defaultValue `300_000` (`advanced`: `600_000`) */
  totalMs?: number | false | undefined
}

/** Every timeout in milliseconds; `Infinity` for one that is off. */
export type ResolvedTimeouts = { readonly [Name in keyof StreamTimeouts]-?: number }

type TimeoutName = keyof StreamTimeouts

/** The names of all timeouts. */
export const timeoutNames: readonly TimeoutName[] = [
  'connectMs',
  'firstByteMs',
  'firstEventMs',
  'inactivityMs',
  'upstreamStallMs',
  'clientStallMs',
  'totalMs',
]

/** Each pair: the first may not be longer than the second. */
const nesting: readonly [TimeoutName, TimeoutName][] = [
  ['connectMs', 'firstByteMs'],
  ['firstByteMs', 'firstEventMs'],
  ['inactivityMs', 'upstreamStallMs'],
  ['firstByteMs', 'totalMs'],
  ['firstEventMs', 'totalMs'],
  ['connectMs', 'totalMs'],
]

/** Names that are often tried first, and older names. */
export const otherTimeoutNames: Readonly<Record<string, TimeoutName>> = {
  default: 'firstByteMs',
  inactivity: 'inactivityMs',
  max: 'totalMs',
  timeout: 'totalMs',
  timeoutMs: 'totalMs',
  idle: 'inactivityMs',
  idleMs: 'inactivityMs',
  drainMs: 'clientStallMs',
  stallMs: 'upstreamStallMs',
}

const never = Number.POSITIVE_INFINITY

const noTimeouts = Object.fromEntries(timeoutNames.map((name) => [name, never])) as ResolvedTimeouts

/**
 * The timeouts a stream runs with: those that the caller set, filled up from `defaults`. A default that does not fit
 * a value of the caller gives way; only two values that were both set can conflict.
 *
 * @throws TypeError for a value that is not a duration, or an unknown name
 * @throws RangeError for two set values that contradict each other
 */
export function resolveTimeouts(
  timeouts: StreamTimeouts | TimeoutProfileName | false | undefined,
  defaults: ResolvedTimeouts,
): ResolvedTimeouts {
  if (timeouts === false) return noTimeouts
  if (timeouts === undefined) return defaults
  if (typeof timeouts === 'string' && Object.hasOwn(timeoutProfiles, timeouts))
    return timeoutProfiles[timeouts]
  checkProfile('timeouts', timeouts, 'an object, false or')
  const set = readTimeouts(timeouts)
  const resolved: Record<TimeoutName, number> = { ...defaults, ...set }
  for (const [inner, outer] of nesting) {
    // One that is off contradicts nothing.
    if (resolved[inner] === never || resolved[inner] <= resolved[outer]) continue
    if (set[inner] === undefined) resolved[inner] = resolved[outer]
    else if (set[outer] === undefined) {
      // The caller asked for a longer beginning: the room the default left for the rest stays as it was.
      resolved[outer] = resolved[inner] + Math.max(0, finite(defaults[outer]) - finite(defaults[inner]))
    } else {
      throw new RangeError(
        `timeouts.${inner} (${resolved[inner]}) must not be longer than timeouts.${outer} (${resolved[outer]})`,
      )
    }
  }
  keepReachable(resolved, set)
  return resolved
}

/**
 * @param others values that may stand there instead of the name of a profile
 * @throws TypeError for anything but an object, with the names of all profiles
 */
export function checkProfile(what: string, value: unknown, others: string): asserts value is object {
  const names = Object.keys(timeoutProfiles)
  const expected = `${others} a profile (${names.map((name) => `'${name}'`).join(', ')})`
  const meant = typeof value === 'string' ? nearest(value, names) : undefined
  if (meant === undefined) return checkObject(what, value, expected)
  throw new TypeError(`${what} must be ${expected}, got ${shown(value)}; did you mean '${meant}'?`)
}

function readTimeouts(timeouts: StreamTimeouts): Partial<Record<TimeoutName, number>> {
  const set: Partial<Record<TimeoutName, number>> = {}
  checkNames(timeouts, { owner: 'timeouts.', names: timeoutNames, instead: otherTimeoutNames })
  for (const [name, value] of Object.entries(timeouts)) {
    if (value !== undefined) set[name as TimeoutName] = readDuration(`timeouts.${name}`, value)
  }
  return set
}

/** `inactivityMs` and `clientStallMs` longer than `totalMs` could never pass. */
function keepReachable(
  resolved: Record<TimeoutName, number>,
  set: Partial<Record<TimeoutName, number>>,
): void {
  for (const name of ['inactivityMs', 'clientStallMs'] as const) {
    if (resolved[name] === never || resolved[name] < resolved.totalMs) continue
    if (set[name] === undefined) resolved[name] = resolved.totalMs
    else if (set.totalMs === undefined) resolved.totalMs += resolved[name]
    else {
      warnOnce(`timeouts.${name} (${set[name]}) has no effect: timeouts.totalMs is ${resolved.totalMs}`)
    }
  }
}

function finite(durationMs: number): number {
  return Number.isFinite(durationMs) ? durationMs : 0
}

/**
 * Checks one duration option. 0 is refused: it means "off" to some libraries and "at once" to others.
 *
 * @returns milliseconds, `Infinity` for `false`
 * @throws TypeError that names the option and the value
 */
export function readDuration(name: string, value: unknown): number {
  if (value === false) return Number.POSITIVE_INFINITY
  if (typeof value === 'number' && value > 0) return value
  throw new TypeError(
    `${name} must be a number of milliseconds above 0, or false or Infinity for never; got ${shown(value)}`,
  )
}
