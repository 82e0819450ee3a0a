import { StreamError } from '../errors/stream-error.js'

/** A write that is refused. Handled already, so that one without an `await` cannot end the process. */
export function refusedWrite(reason: unknown): Promise<never> {
  const refusal = Promise.reject(reason)
  refusal.catch(() => {})
  return refusal
}

/** Why a writer takes no more. */
export const disposed = () => new StreamError('aborted', { message: 'The writer was disposed.' })
export const endedElsewhere = () =>
  new StreamError('internal', { message: 'The response was ended elsewhere.' })
export const closedAlready = () => new StreamError('internal', { message: 'The stream has been closed.' })
