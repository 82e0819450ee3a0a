import type { StreamError } from './errors.js'

/** A stream that is running in this process. */
export interface LiveStream {
  /** Ends it for `reason`, telling its client. */
  stop(reason: StreamError): void
  /** Settles when its client has the ending. */
  readonly ended: Promise<unknown>
}

interface Registry {
  streams: Set<LiveStream>
  draining: boolean
}

const registryKey = Symbol.for('unhang.liveStreams')

/** One registry per process, also with several copies of unhang in it. */
function registry(): Registry {
  const holder = globalThis as { [registryKey]?: Registry }
  holder[registryKey] ??= { streams: new Set(), draining: false }
  return holder[registryKey]
}

/** @returns a function that takes it off again */
export function addLiveStream(stream: LiveStream): () => void {
  const { streams } = registry()
  streams.add(stream)
  return () => streams.delete(stream)
}

/** Whether new streams are being refused. */
export function isDraining(): boolean {
  return registry().draining
}

/** From now on new streams are refused. */
export function startDraining(): void {
  registry().draining = true
}

/** The streams that are running in this process. */
export function liveStreams(): ReadonlySet<LiveStream> {
  return registry().streams
}
