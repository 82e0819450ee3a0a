import type { ServerResponse } from 'node:http'
import type { StreamError } from './errors.js'
import { serverOf, sessionOf } from './exchange.js'
import { processWide } from './process-wide.js'

/** A stream that is running in this process. */
export interface LiveStream {
  readonly server: object | undefined
  /** The HTTP/2 session it is part of. */
  readonly session: object | undefined
  /** Ends it for `reason`, telling its client. */
  stop(reason: StreamError): void
  /** Settles when its client has the ending. */
  readonly ended: Promise<unknown>
}

interface Registry {
  streams: Set<LiveStream>
  draining: WeakSet<object>
}

const registry = () =>
  processWide<Registry>('liveStreams', () => ({ streams: new Set(), draining: new WeakSet() }))

/** @returns a function that takes it off again */
export function addLiveStream(
  response: ServerResponse,
  { stop, ended }: Pick<LiveStream, 'stop' | 'ended'>,
): () => void {
  const { streams } = registry()
  const stream = { stop, ended, server: serverOf(response), session: sessionOf(response) }
  streams.add(stream)
  return () => streams.delete(stream)
}

/** Whether new streams of a response's server are being refused. */
export function isDraining(response: ServerResponse): boolean {
  const server = serverOf(response)
  return server !== undefined && registry().draining.has(server)
}

/** From now on new streams of a server are refused. */
export function startDraining(server: object): void {
  registry().draining.add(server)
}

/** The streams that are running in this process. */
export function liveStreams(): ReadonlySet<LiveStream> {
  return registry().streams
}
