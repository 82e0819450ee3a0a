import { selectDialect } from '../dialects/index.js'
import { StreamError } from '../errors/stream-error.js'
import { PlainReply, type Reply } from './reply.js'

/** Why a client cannot rejoin a stream, or stop one. */
export interface Refusal {
  readonly status: number
  readonly code: string
  readonly message: string
  /** The first event that is still there. */
  readonly first?: number
}

/** The same for a stream that is not there, and for one that belongs to another owner. */
export const unknownStream: Refusal = {
  status: 404,
  code: 'stream_not_found',
  message: 'There is no such stream.',
}

export const badCursor: Refusal = {
  status: 400,
  code: 'invalid_request',
  message: 'The position in the stream must be a whole number of at most 15 digits.',
}

export const aheadOfEnd: Refusal = {
  status: 400,
  code: 'resume_ahead',
  message: 'The stream ended before this position.',
}

export const unavailable: Refusal = {
  status: 503,
  code: 'resume_unavailable',
  message: 'Streams cannot be rejoined now; please try again.',
}

export function gapBefore(first: number): Refusal {
  return {
    status: 410,
    code: 'resume_gap',
    message: `Events before number ${first} are no longer there.`,
    first,
  }
}

/** Responds as the API of the request reports errors. */
export function refuse({ status, code, message, first }: Refusal, path: string): Reply {
  const error = new StreamError('internal', { status, code, message })
  const body = selectDialect(undefined, path).errorBody(error, message) as object
  const type = { 'content-type': 'application/json; charset=utf-8' }
  if (first === undefined) return new PlainReply(status, type, JSON.stringify(body))
  return new PlainReply(
    status,
    { ...type, 'unhang-first': String(first) },
    JSON.stringify({ ...body, first }),
  )
}

/** There is nothing to read, or nothing more: a client of `useChat` and an `EventSource` then stop asking. */
export const nothing: Reply = new PlainReply(204)
