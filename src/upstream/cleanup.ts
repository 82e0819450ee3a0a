import { checkNames, checkObject } from '../errors/bad-input.js'
import { processWide } from '../registry.js'
import { systemClock, within } from '../timeouts/clock.js'
import { readDuration } from '../timeouts/options.js'
import type { CleanupPart } from './cleanup-part.js'
import { collectParts } from './cleanup-parts.js'

/**
 * The options of {@link coordinatedSocketCleanup}; times are in milliseconds, `Infinity` or `false` for never.
 *
 * @example
 * await coordinatedSocketCleanup(upstream, { reason: new Error('the user pressed stop'), closeMs: 500 })
 */
export interface SocketCleanupOptions {
  /** The error that other code gets if it still uses the target. Not set: it gets none of yours. */
  reason?: Error | undefined
  /** How long sockets may take to close before they are cut. @defaultValue `1_000` */
  closeMs?: number | false | undefined
  /**
   * How long a target whose response is complete may take to end by itself, so that its connection can be reused.
   *
   * @defaultValue not at all: the target is destroyed at once
   */
  lingerMs?: number | false | undefined
}

/** How a target was released. */
export interface SocketCleanupReport {
  /**
   * How the target went. `ended`: it had ended before. `linger`: it ended by itself in time. `destroy`: it was
   * destroyed. `cancel`: a web stream was cancelled. `unreachable`: a locked web stream came without its controller.
   */
  via: 'ended' | 'linger' | 'destroy' | 'cancel' | 'unreachable'
  /** Whether its sockets are closed, or given back for reuse. */
  closed: boolean
  /** Whether a socket had to be cut after `closeMs`. */
  forced: boolean
  /** How long the release took, in milliseconds. */
  durationMs: number
  /** Errors that the target raised while it was released. */
  errors: Error[]
}

const registry = processWide('cleanups', () => new WeakMap<object, Promise<SocketCleanupReport>>())

/**
 * Releases what a stream held of its upstream, once: every caller gets the same report. The promise never rejects.
 *
 * @param target an axios or Fetch response, the result of `undici.request`, a Node stream, a `ClientRequest`,
 *   a socket, an HTTP/2 stream, an `AbortController`, or a list of them
 * @throws TypeError for a wrong target or option, by name and value
 * @example
 * const { via, forced } = await coordinatedSocketCleanup(upstream)
 */
export function coordinatedSocketCleanup(
  target: unknown,
  options: SocketCleanupOptions = {},
): Promise<SocketCleanupReport> {
  checkNames(options, {
    owner: 'cleanup.',
    names: ['reason', 'closeMs', 'lingerMs'],
    instead: { graceMs: 'closeMs' },
  })
  // An upstream that has not responded yet is nothing to release.
  if (target !== undefined && target !== null) {
    checkObject('target', target, 'a response, a stream, a request or a list of them')
    checkReleasable(target as object)
  }
  if (options.reason !== undefined) checkObject('cleanup.reason', options.reason, 'an error')
  const closeMs = readDuration('cleanup.closeMs', options.closeMs ?? 1_000)
  const lingerMs = options.lingerMs === undefined ? 0 : readDuration('cleanup.lingerMs', options.lingerMs)
  const settings = { closeMs, lingerMs: Number.isFinite(lingerMs) ? lingerMs : 0, reason: options.reason }
  const known = registry()
  const isObject = typeof target === 'object' && target !== null
  const running = isObject ? known.get(target) : undefined
  if (running) return running
  const cleanups = collectParts(target).map(({ part, identities }) => {
    const before = identities.map((identity) => known.get(identity)).find(Boolean)
    const cleanup = before ?? release(part, settings)
    for (const identity of identities) known.set(identity, cleanup)
    return cleanup
  })
  const [only, ...others] = cleanups
  const cleanup = only && others.length === 0 ? only : Promise.all(cleanups).then(merge)
  if (isObject) known.set(target, cleanup)
  return cleanup
}

/** The same for any object that a handler took for an upstream; rejects for one that cannot be released. */
export async function releaseUpstream(
  target: unknown,
  options?: SocketCleanupOptions,
): Promise<SocketCleanupReport> {
  return coordinatedSocketCleanup(target, options)
}

/** @throws TypeError for an object that looks as if it could be released, and cannot be */
function checkReleasable(target: object): void {
  // The requests of superagent are both.
  if ('then' in target && !('destroy' in target))
    throw new TypeError('target is a promise, and has nothing to release: await it first')
  if (target instanceof AbortSignal)
    throw new TypeError('target is a signal, and has nothing to release: write its AbortController')
}

interface CleanupSettings {
  reason: Error | undefined
  closeMs: number
  /** 0: not at all. */
  lingerMs: number
}

async function release(
  part: CleanupPart,
  { reason, closeMs, lingerMs }: CleanupSettings,
): Promise<SocketCleanupReport> {
  const startedAt = systemClock.now()
  const errors: Error[] = []
  const report = (via: SocketCleanupReport['via'], closed: boolean, forced = false): SocketCleanupReport => {
    return { via, closed, forced, durationMs: systemClock.now() - startedAt, errors }
  }
  part.absorbErrors?.(reason !== undefined || lingerMs === 0)
  if (part.closed) return report('ended', true)
  if (lingerMs > 0 && (await within(part.finish(), lingerMs).catch(() => false)))
    return report('linger', true)
  let via: SocketCleanupReport['via'] = 'destroy'
  try {
    via = await part.stop(reason)
  } catch (error) {
    errors.push(error instanceof Error ? error : new Error(String(error)))
  }
  if (via === 'unreachable') return report(via, false)
  const closed = part.whenClosed?.() ?? Promise.resolve()
  if (await within(closed, closeMs)) return report(via, true)
  part.force?.()
  return report(via, await within(closed, closeMs), true)
}

/** How far from its goal a part was left; of several the farthest is reported. */
const byConcern = ['ended', 'linger', 'cancel', 'destroy', 'unreachable'] as const

function merge(reports: SocketCleanupReport[]): SocketCleanupReport {
  return {
    via: byConcern[Math.max(0, ...reports.map(({ via }) => byConcern.indexOf(via)))] ?? 'ended',
    closed: reports.every(({ closed }) => closed),
    forced: reports.some(({ forced }) => forced),
    durationMs: Math.max(0, ...reports.map(({ durationMs }) => durationMs)),
    errors: reports.flatMap(({ errors }) => errors),
  }
}
