import type { EventEmitter } from 'node:events'
import { checkFunction } from '../errors/bad-input.js'
import { processWide } from '../registry.js'
import { type CallOwner, CallOwners, type OpenResponse } from './call-owner.js'
import { watchHttpCalls } from './http-calls.js'
import { watchUndiciCalls } from './undici-calls.js'

const name = 'adopt.v1'

/** Apart from the owners: a page may come, and go on reading, before there are any. */
const openResponses = processWide('openResponses', () => new Set<OpenResponse>())

/** Made for the first request that may stream: until then nothing of it is loaded, and no channel has a listener. */
export const callOwners = processWide(name, () => {
  const { AsyncLocalStorage } = process.getBuiltinModule('node:async_hooks')
  const { subscribe } = process.getBuiltinModule('node:diagnostics_channel')
  // One that has not been entered costs nothing.
  const owners = new CallOwners(new AsyncLocalStorage<CallOwner>(), openResponses())
  watchHttpCalls(owners, subscribe as never)
  watchUndiciCalls(owners, subscribe as never)
  return owners
})

const key = Symbol.for(`unhang.${name}`)

/** The same, if some copy of unhang has needed it so far. */
function madeOwners(): CallOwners | undefined {
  return (globalThis as { [key: symbol]: unknown })[key] as CallOwners | undefined
}

/** The app writes to a response. If this code runs for another owner, that owner's upstream is shared. */
export function noteWriter(owner: CallOwner | undefined): void {
  const writer = madeOwners()?.current
  if (writer !== undefined && writer !== owner) writer.markShared()
}

/**
 * A guarded response may be reading what another one has opened, also if its own calls are not watched.
 *
 * @returns to be called when it is over
 */
export function noteReader(reader: OpenResponse, response: EventEmitter): () => void {
  openResponses().add(reader)
  const leave = () => openResponses().delete(reader) && madeOwners()?.readersChanged()
  // Some responses that are made by hand never say that they are closed.
  response.once('finish', leave)
  return leave
}

/**
 * Runs `work` and returns what it returns. The guard does not look at the upstream calls that `work` makes.
 *
 * Use it for a background job that a handler starts: unhang then neither waits for its calls nor cancels them.
 *
 * @throws TypeError for anything but a function
 * @example
 * const job = unadopted(() => fetch(url, { method: 'POST' }))
 */
export function unadopted<Result>(work: () => Result): Result {
  checkFunction('unadopted(work): work', work ?? null)
  const owners = madeOwners()
  return owners ? owners.leave(work) : work()
}
