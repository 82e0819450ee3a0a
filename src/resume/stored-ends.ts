import type { StoredEnd } from './resume-store.js'

/** A stream of this id is being produced now. */
export class StreamIdTaken extends Error {
  override readonly name = 'StreamIdTaken'

  constructor() {
    super('a stream with this id is being produced')
  }
}

/** The client has all of it. */
export const completed: StoredEnd = { outcome: 'completed', code: undefined, message: undefined }

/** The process that produced the stream is gone. */
export const producerLost: StoredEnd = {
  outcome: 'upstream_hangup',
  code: 'producer_lost',
  message: 'The server that produced the answer is gone.',
}

/** The store had the stream, or its end, and has neither any more. */
export const forgotten: StoredEnd = {
  outcome: 'upstream_hangup',
  code: 'resume_forgotten',
  message: 'The rest of the answer is no longer there.',
}

/** The store has been silent for as long as a producer may be. */
export const unreachable: StoredEnd = {
  outcome: 'upstream_connect',
  code: 'resume_unreachable',
  message: 'The rest of the answer cannot be reached.',
}
