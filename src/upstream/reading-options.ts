import { checkFunction, checkNames, checkPositive, checkSignal } from '../errors/bad-input.js'
import { allowManyListeners } from '../timeouts/many-listeners.js'
import type { AbortSignalLike } from '../timeouts/stop-signal.js'

/**
 * The options of {@link readEventStream}.
 *
 * @example
 * const events = readEventStream(upstream, { maxEventBytes: 64 * 1024, signal: AbortSignal.timeout(60_000) })
 */
export interface ReadEventStreamOptions {
  /** The maximum size of one event, in bytes. @defaultValue `8 * 1024 * 1024` */
  maxEventBytes?: number | undefined
  /** Ends the reading with its reason. Not set: the upstream is read to its end. */
  signal?: AbortSignalLike | undefined
  /** Called for every chunk as it arrives, before its events. Not set: nothing is called. */
  onChunk?: ((chunk: Uint8Array | string) => void) | undefined
}

/**
 * @param more names that the caller reads itself
 * @throws TypeError that names the option and the value
 */
export function checkReading(options: ReadEventStreamOptions, more: readonly string[] = []): void {
  checkNames(options, { owner: 'options.', names: ['maxEventBytes', 'signal', 'onChunk', ...more] })
  checkPositive('maxEventBytes', options.maxEventBytes)
  checkSignal('signal', options.signal)
  checkFunction('onChunk', options.onChunk)
  allowManyListeners(options.signal)
}
