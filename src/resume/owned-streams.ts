import { createHash, timingSafeEqual } from 'node:crypto'
import { log, warnOnce } from '../diagnostics/channels.js'
import { describeError } from '../diagnostics/describe-error.js'
import { within } from '../timeouts/clock.js'
import type { FoundStream, ResumeStore } from './resume-store.js'

/** Says whose stream a request is about; `false`: every client that knows the id may read. */
export type OwnerOf = ((request: never) => string | undefined) | false

/** How long a store may take to say what it has. */
const findWithinMs = 5_000

const idForm = /^[\w.:~-]{1,200}$/

/** Whether an id may stand in a header, and be a name in a store. */
export function isStreamId(id: unknown): id is string {
  return typeof id === 'string' && idForm.test(id)
}

/** The streams of a store, as far as they belong to the owner that asks. */
export class OwnedStreams {
  readonly store: ResumeStore
  readonly #ownerOf: OwnerOf

  constructor(store: ResumeStore, ownerOf: OwnerOf) {
    this.store = store
    this.#ownerOf = ownerOf
  }

  /**
   * Hashes the owner of a stream that begins, so that the store never knows it.
   *
   * @returns `undefined` if it could never be rejoined
   */
  ownerFor(request: object): { hash: string | undefined } | undefined {
    if (this.#ownerOf === false) return { hash: undefined }
    const owner = this.#owner(request)
    return owner === undefined ? undefined : { hash: hashOf(owner) }
  }

  /**
   * Finds the stream of this id, if it belongs to the owner that asks.
   *
   * @throws what the store says, or that it says nothing
   */
  async find(id: string | undefined, request: object): Promise<FoundStream | undefined> {
    const owner = this.#ownerOf === false ? undefined : this.#owner(request)
    const found = isStreamId(id) ? await inTime(this.store.find(id)) : undefined
    if (this.#ownerOf === false) return found
    // As much is done for a stream that is not there as for one of another owner.
    const isTheirs = isSame(hashOf(owner ?? ''), found?.about.owner ?? '')
    return isTheirs && owner !== undefined ? found : undefined
  }

  #owner(request: object): string | undefined {
    try {
      const owner: unknown = (this.#ownerOf as (request: object) => unknown)(request)
      if (owner instanceof Promise) {
        owner.catch(() => {})
        throw new TypeError('it returned a promise; find the owner before, and return a string')
      }
      return typeof owner === 'string' && owner !== '' ? owner : undefined
    } catch (error) {
      warnOnce(`resume: owner(request) failed, so the request has no owner: ${describeError(error)}`)
      return undefined
    }
  }
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  if (await within(work, findWithinMs)) return work
  log.stream('the store of recorded streams does not respond')
  throw new Error('the store does not respond')
}

function hashOf(owner: string): string {
  return createHash('sha256').update(owner).digest('base64url')
}

/** In constant time: two hashes, or a hash and nothing. */
function isSame(hash: string, stored: string): boolean {
  const expected = Buffer.alloc(64)
  const actual = Buffer.alloc(64)
  expected.write(hash)
  actual.write(stored)
  return timingSafeEqual(expected, actual)
}
