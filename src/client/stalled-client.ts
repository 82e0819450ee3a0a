import type { ServerResponse } from 'node:http'
import { StreamTimeoutError } from '../errors/stream-error.js'
import { isTaken, type Taking } from './is-taken.js'
import { isClosed, whenFlushed, whenItsTurn } from './response.js'

export interface FinishOptions extends Taking {
  destroy(error: Error): void
}

/**
 * Waits until an ended response has left this process. A client that takes none of it for `clientStallMs` is cut
 * off; one that takes it slowly is waited for.
 *
 * @returns the error, if the client had to be cut off
 */
export async function waitUntilFlushed(
  response: ServerResponse,
  { clientStallMs, taken, destroy }: FinishOptions,
): Promise<StreamTimeoutError | undefined> {
  if (response.writableFinished || isClosed(response)) return undefined
  const finished = new Promise<void>((resolve) => {
    whenFlushed(response, resolve)
  })
  // Behind another response on its connection it has no client to take anything yet.
  await Promise.race([whenItsTurn(response), finished])
  if (await isTaken(finished, { clientStallMs, taken })) return undefined
  const stalled = new StreamTimeoutError('clientStall', clientStallMs)
  destroy(stalled)
  return stalled
}
