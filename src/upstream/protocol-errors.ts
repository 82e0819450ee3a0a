import { StreamError } from '../errors/stream-error.js'

/** The upstream sent something of another kind. */
export function notEvents(kind: string): StreamError {
  return new StreamError('upstream_protocol', {
    message: `The upstream responded with ${kind} instead of an event stream.`,
  })
}

export function answerTooLarge(maxBytes: number): StreamError {
  return new StreamError('upstream_protocol', {
    code: 'upstream_answer_too_large',
    message: `The upstream sent a response of more than ${maxBytes} bytes.`,
  })
}
