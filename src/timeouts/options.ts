import { warnOnce } from '../diagnostics/channels.js'

/** Timeouts in milliseconds, each a number above 0; `Infinity` or `false` switches one off. */
export interface StreamTimeouts {
  /** From the connection attempt to the connection, TLS included. Default 10 000. */
  connectMs?: number | false
  /** From the start to the first byte of the upstream's answer. Default 120 000. */
  firstByteMs?: number | false
  /** From the start to the first event with content (not pings or empty deltas). Default off. */
  firstEventMs?: number | false
  /** Silence of the upstream in the middle of an answer; any byte counts as life. Default 60 000. */
  inactivityMs?: number | false
  /** Time without an event that has content, pings notwithstanding. Default off. */
  stallMs?: number | false
  /** How long a client may take without reading anything. Default 30 000. */
  drainMs?: number | false
  /** The whole stream, start to end; nothing extends it. Default 300 000. */
  totalMs?: number | false
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
  'stallMs',
  'drainMs',
  'totalMs',
]

/** Each pair: the first may not be longer than the second. */
const nesting: readonly [TimeoutName, TimeoutName][] = [
  ['connectMs', 'firstByteMs'],
  ['firstByteMs', 'firstEventMs'],
  ['inactivityMs', 'stallMs'],
  ['firstByteMs', 'totalMs'],
  ['firstEventMs', 'totalMs'],
  ['connectMs', 'totalMs'],
]

const renamed: Record<string, TimeoutName> = {
  default: 'firstByteMs',
  inactivity: 'inactivityMs',
  max: 'totalMs',
}

const never = Number.POSITIVE_INFINITY

const noTimeouts: ResolvedTimeouts = {
  connectMs: never,
  firstByteMs: never,
  firstEventMs: never,
  inactivityMs: never,
  stallMs: never,
  drainMs: never,
  totalMs: never,
}

/**
 * The timeouts a stream runs with: what the caller set, filled up from `defaults`. A default that does not fit
 * what was set gives way; only two values that were both set can conflict.
 *
 * @throws TypeError for a value that is not a duration, or an unknown name
 * @throws RangeError for two set values that contradict each other
 */
export function resolveTimeouts(
  timeouts: StreamTimeouts | false | undefined,
  defaults: ResolvedTimeouts,
): ResolvedTimeouts {
  if (timeouts === false) return noTimeouts
  if (timeouts === undefined) return defaults
  if (typeof timeouts !== 'object' || timeouts === null) {
    throw new TypeError(`timeouts must be an object or false, got ${String(timeouts)}`)
  }
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

function readTimeouts(timeouts: StreamTimeouts): Partial<Record<TimeoutName, number>> {
  const set: Partial<Record<TimeoutName, number>> = {}
  for (const [name, value] of Object.entries(timeouts)) {
    if (!timeoutNames.includes(name as TimeoutName)) {
      const hint = Object.hasOwn(renamed, name)
        ? `did you mean ${renamed[name]}?`
        : `there are ${timeoutNames.join(', ')}`
      throw new TypeError(`timeouts.${name} is not a timeout; ${hint}`)
    }
    if (value !== undefined) set[name as TimeoutName] = readDuration(`timeouts.${name}`, value)
  }
  return set
}

/** `inactivity` and `drain` longer than `total` could never pass. */
function keepReachable(
  resolved: Record<TimeoutName, number>,
  set: Partial<Record<TimeoutName, number>>,
): void {
  for (const name of ['inactivityMs', 'drainMs'] as const) {
    if (resolved[name] === never || resolved[name] < resolved.totalMs) continue
    if (set[name] === undefined) resolved[name] = resolved.totalMs
    else if (set.totalMs === undefined) resolved.totalMs += resolved[name]
    else {
      const limit = `timeouts.totalMs (${resolved.totalMs})`
      warnOnce(`timeouts.${name} (${set[name]}) can never pass: it is not shorter than ${limit}`)
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
  const shown = typeof value === 'string' ? JSON.stringify(value) : String(value)
  throw new TypeError(`${name} must be a number of milliseconds above 0, or Infinity for never; got ${shown}`)
}
