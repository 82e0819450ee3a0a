import type { AskedRequest } from './reply.js'

/** Where a client wants to go on. */
export interface Cursor {
  /** How many events it has had; `undefined` if what it says is not a number. */
  readonly after: number | undefined
  /** Whether it goes on at the first event that is still there. */
  readonly acceptsGap: boolean
}

/** The number of the first event that a client can still read, or of the first one to come. */
export function firstReadable({ first, last }: { first: number; last: number }): number {
  return first || last + 1
}

const digits = /^\d{1,15}$/

/**
 * Reads how many events a client has had. `Last-Event-ID` goes first: an `EventSource` keeps the address it began with.
 * `starting_after` is the `sequence_number` of the Responses API, which counts from 0.
 */
export function readCursor({ headers, url = '' }: AskedRequest): Cursor {
  const query = new URLSearchParams(url.split('?')[1] ?? '')
  const acceptsGap = query.get('gap') === 'accept'
  const lastId = headers['last-event-id']
  const [after, ...more] = query.getAll('after')
  const [startingAfter, ...others] = query.getAll('starting_after')
  if (lastId !== undefined) return { after: count(String(lastId)), acceptsGap }
  if (more.length > 0 || others.length > 0) return { after: undefined, acceptsGap }
  if (after !== undefined) return { after: count(after), acceptsGap }
  const number = startingAfter === undefined ? -1 : count(startingAfter)
  return { after: number === undefined ? undefined : number + 1, acceptsGap }
}

function count(text: string): number | undefined {
  return digits.test(text) ? Number(text) : undefined
}
