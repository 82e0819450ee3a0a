import { StreamError } from '../errors/stream-error.js'

/** Why a writer takes no more. */
export const disposed = () => new StreamError('aborted', { message: 'The writer was disposed.' })
export const endedElsewhere = () =>
  new StreamError('internal', { message: 'The response was ended elsewhere.' })
export const closedAlready = () => new StreamError('internal', { message: 'The stream has been closed.' })
