import pTimeout from 'p-timeout'
import { type CleanupPart, collectParts } from './cleanup-parts.js'
import { promiseTimers, systemClock } from './clock.js'
import { log } from './diagnostics.js'
import { readDuration } from './duration.js'

export interface SocketCleanupOptions {
  /** Why; the error that whoever still uses the target is given. */
  reason?: Error | undefined
  /** How long sockets may take to close before they are cut. Default 1 000. */
  graceMs?: number | false
  /**
   * How long a target whose answer is complete may take to end by itself, so that its connection can be used
   * again. Default: it is destroyed at once.
   */
  lingerMs?: number | false | undefined
}

export interface SocketCleanupReport {
  /**
   * How the target went: it had ended before (`ended`), ended by itself in time (`linger`), was destroyed, was
   * cancelled (a web stream), or could not be reached (a locked web stream without its controller).
   */
  via: 'ended' | 'linger' | 'destroy' | 'cancel' | 'unreachable'
  closed: boolean
  /** Whether a socket had to be cut after the grace. */
  forced: boolean
  durationMs: number
  errors: Error[]
}

const registryKey = Symbol.for('unhang.cleanups')
type Registry = WeakMap<object, Promise<SocketCleanupReport>>

/** One registry per process, also with several copies of unhang in it. */
function registry(): Registry {
  const holder = globalThis as { [registryKey]?: Registry }
  holder[registryKey] ??= new WeakMap()
  return holder[registryKey]
}

/**
 * Releases what a stream held of its upstream, once: every caller gets the same report, whichever part of the
 * exchange it names. Never rejects.
 *
 * @param target an axios or Fetch response, what `undici.request` resolves to, a Node stream, a `ClientRequest`,
 *   a socket, an HTTP/2 stream, an `AbortController`, or a list of them
 */
export function coordinatedSocketCleanup(
  target: unknown,
  options: SocketCleanupOptions = {},
): Promise<SocketCleanupReport> {
  const graceMs = readDuration('cleanup.graceMs', options.graceMs ?? 1_000)
  const { identities, parts } = collectParts(target)
  const known = registry()
  for (const identity of identities) {
    const running = known.get(identity)
    if (running) return running
  }
  const cleanup = release(parts, graceMs, options)
  for (const identity of identities) known.set(identity, cleanup)
  return cleanup
}

async function release(
  parts: CleanupPart[],
  graceMs: number,
  { reason, lingerMs }: SocketCleanupOptions,
): Promise<SocketCleanupReport> {
  const startedAt = systemClock.now()
  const errors: Error[] = []
  const report = (via: SocketCleanupReport['via'], closed: boolean, forced = false): SocketCleanupReport => {
    const durationMs = systemClock.now() - startedAt
    log.cleanup('%s, closed %s, forced %s, %d ms: %s', via, closed, forced, durationMs, reason?.message ?? '')
    return { via, closed, forced, durationMs, errors }
  }
  const within = (work: Promise<unknown>, limitMs: number) =>
    pTimeout(
      work.then(() => true),
      { milliseconds: limitMs, message: false, customTimers: promiseTimers },
    ).then(Boolean)

  for (const part of parts) part.absorbErrors(reason !== undefined || lingerMs === undefined)
  if (parts.every((part) => part.closed)) return report('ended', true)
  if (lingerMs !== undefined && lingerMs !== false) {
    const finished = Promise.all(parts.map((part) => part.finish()))
    if (await within(finished, lingerMs).catch(() => false)) return report('linger', true)
  }
  let via: SocketCleanupReport['via'] = 'destroy'
  for (const part of parts) {
    try {
      const reached = await part.stop(reason)
      if (reached !== 'destroy') via = reached
    } catch (error) {
      errors.push(error instanceof Error ? error : new Error(String(error)))
    }
  }
  if (via === 'unreachable') return report(via, false)
  const closed = Promise.all(parts.map((part) => part.whenClosed()))
  if (await within(closed, graceMs)) return report(via, true)
  for (const part of parts) part.force()
  return report(via, await within(closed, graceMs), true)
}
