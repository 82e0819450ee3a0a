import type { StreamError } from '../errors/stream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import { responseAnswerForm } from './answer-openai-responses.js'
import type { EventRole, FollowedStream, StreamDialect } from './dialect.js'
import { jsonOf } from './event-json.js'
import { openaiError, openaiErrorBody } from './plain.js'

/**
 * Streams of `/responses`: numbered events, the last of which carries the whole response.
 *
 * @see https://platform.openai.com/docs/api-reference/responses-streaming
 */
export const openaiResponses: StreamDialect = {
  name: 'openai-responses',
  needsTerminal: true,
  errorBody: openaiErrorBody,
  answers: responseAnswerForm,
  follow: () => new ResponseStream(),
}

interface ResponseEvent {
  type: unknown
  sequence_number: unknown
}

const terminal = /^response\.(completed|incomplete|failed|cancelled)$/

class ResponseStream implements FollowedStream {
  complete = false
  #nextNumber = 0

  observe({ data, event }: SSEEvent): EventRole {
    const { type = event, sequence_number: number } = jsonOf<ResponseEvent>(data) ?? {}
    if (Number.isSafeInteger(number)) this.#nextNumber = Number(number) + 1
    if (type === 'error') return 'error'
    if (terminal.test(String(type))) {
      this.complete = true
      return 'terminal'
    }
    return String(type).endsWith('.delta') ? 'content' : 'other'
  }

  /** The last event carries the whole response: nobody else can make it up. */
  closing(): SSEEvent[] {
    return []
  }

  /** Documented is the flat form; the SDKs raise for `error` alone. */
  failing(error: StreamError, message: string): SSEEvent[] {
    const flat = { sequence_number: this.#nextNumber, code: error.code, message, param: null }
    return [{ event: 'error', data: { type: 'error', error: openaiError(error, message), ...flat } }]
  }
}
