import type { Transcript } from '../dialects/transcript.js'
import { StreamError } from '../errors/stream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import type { AdoptedCalls } from './adopted-calls.js'

/** A handler whose upstream has broken may still say that the answer is complete: its client must not read that. */
export class MadeUpEnding {
  /** Set once the handler has said so. */
  failure: StreamError | undefined
  /** Where that event begins, in all bytes of the handler. */
  startsAt: number | undefined
  readonly #calls: AdoptedCalls | undefined
  #whole = 0

  constructor(calls: AdoptedCalls | undefined) {
    this.#calls = calls
  }

  /** Whether each event has to be looked at. */
  get isPossible(): boolean {
    return this.#calls?.denyEnding === true
  }

  /** So many bytes are whole events. */
  passed(whole: number): void {
    this.#whole = whole
  }

  /**
   * @param sentUntil how many bytes the client has been sent: an ending that began before cannot be taken back
   * @returns whether the event must not be sent
   */
  observe(event: SSEEvent, end: number, transcript: Transcript, sentUntil: number): boolean {
    const start = this.#whole
    this.#whole = end
    if (!this.isPossible || start < sentUntil || !saysComplete(event, transcript)) return false
    this.failure = new StreamError('upstream_hangup')
    this.startsAt = start
    return true
  }
}

function saysComplete(event: SSEEvent, transcript: Transcript): boolean {
  if (transcript.complete) return false
  if (event.data === '[DONE]') return true
  const state = transcript.dialect.follow()
  return state.observe(event) === 'terminal' || state.complete
}
