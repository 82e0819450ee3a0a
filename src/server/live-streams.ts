import type { StreamError } from '../errors/stream-error.js'
import { processWide } from '../registry.js'

/** A stream that is running in this process. */
export interface LiveStream {
  readonly server: object | undefined
  /** Ends it for `reason`, telling its client. */
  stop(reason: StreamError): void
  /** Cuts its connection, and no other. */
  cut(reason: StreamError): void
  /** Its server is about to shut down. */
  serverDrains?(): void
  /** Settles with its record when its client has the ending. */
  readonly ended: Promise<unknown>
}

/** Where a stream stands among the live ones. */
const place = Symbol('place')

type Placed = LiveStream & { [place]?: number }

/**
 * As much of a `Set` as is needed here, also by other versions of unhang in this process. Each time a real one grows or
 * shrinks it leaves its old table behind, and what an old table holds outlives the young generation, the streams of the
 * next one with it.
 */
class StreamSet implements Iterable<LiveStream> {
  readonly #streams: Placed[] = []

  get size(): number {
    return this.#streams.length
  }

  add(stream: Placed): void {
    if (this.#streams[stream[place] ?? -1] === stream) return
    stream[place] = this.#streams.push(stream) - 1
  }

  delete(stream: Placed): void {
    const at = stream[place] ?? -1
    if (this.#streams[at] !== stream) return
    const last = this.#streams.pop()
    // Their order says nothing: the last one takes the place.
    if (last && last !== stream) {
      this.#streams[at] = last
      last[place] = at
    }
  }

  [Symbol.iterator](): Iterator<LiveStream> {
    return this.#streams.values()
  }
}

interface Registry {
  streams: Pick<StreamSet, 'size' | 'add' | 'delete' | typeof Symbol.iterator>
  draining: WeakSet<object>
  /** The HTTP/2 sessions that have been seen, by their server, which does not know them. */
  sessions: WeakMap<object, Set<ClosableSession>>
}

/** As much of an HTTP/2 session as is asked of one here. */
interface ClosableSession {
  readonly closed: boolean
  close(): void
  destroy(): void
  once(event: 'close', listener: () => void): unknown
}

const registry = processWide<Registry>('liveStreams', () => ({
  streams: new StreamSet(),
  draining: new WeakSet(),
  sessions: new WeakMap(),
}))

/** An HTTP/2 session is asked to end when its server shuts down, whether or not it has a stream then. */
export function rememberSession(session: ClosableSession | undefined, server: object | undefined): void {
  if (!session || !server || session.closed) return
  const sessions = registry().sessions.get(server) ?? new Set()
  registry().sessions.set(server, sessions)
  if (sessions.has(session)) return
  sessions.add(session)
  session.once('close', () => sessions.delete(session))
}

/** The HTTP/2 sessions of a server that have had a response. */
export function sessionsOf(server: object): Set<ClosableSession> {
  return registry().sessions.get(server) ?? new Set()
}

/** Whether new streams of a server are being refused. */
export function isDraining(server: object | undefined): boolean {
  return server !== undefined && registry().draining.has(server)
}

/** From now on new streams of a server are refused. */
export function startDraining(server: object): void {
  registry().draining.add(server)
}

/** The streams that are running in this process. */
export function liveStreams(): Registry['streams'] {
  return registry().streams
}
