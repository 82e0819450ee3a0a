import type { ServerResponse } from 'node:http'
import { StreamError } from './errors.js'

/** A stream that somebody pipes into a response. */
export type PipedSource = NodeJS.ReadableStream & { destroyed?: boolean }

/**
 * Watches a source that is piped into a response: one that breaks tells nobody but itself, and `pipe` leaves
 * the response open for ever.
 *
 * @param onBroken called with what it broke with, after the handler's own listeners, which may have dealt with
 *   it; `handled`: there are some
 * @param onEnded called when it has ended, or was taken off the response
 * @returns a function that stops the watching: a source may outlive the response, and serve others
 */
export function watchPipedSource(
  source: PipedSource,
  response: ServerResponse,
  onBroken: (error: unknown, handled: boolean) => void,
  onEnded: () => void,
): () => void {
  let over = false
  const end = () => {
    over = true
    onEnded()
  }
  const broken = (error: unknown = new StreamError('upstream_hangup')) => {
    setImmediate(() => {
      if (!over) onBroken(error, source.listenerCount('error') > 1)
    })
  }
  const onClose = () => broken()
  source.once('end', end).on('error', broken).once('close', onClose)
  response.on('unpipe', (from: PipedSource) => {
    if (from === source && !source.destroyed) end()
  })
  return () => source.off('error', broken).off('close', onClose)
}
