import type { StreamError } from '../errors/stream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import { cohereAnswerForm } from './cohere-answer.js'
import { type DialectState, type EventRole, jsonOf, type StreamDialect } from './dialect.js'
import { openaiErrorBody } from './plain.js'

/**
 * Streams of Cohere's `/v2/chat`: complete with `message-end`.
 *
 * @see https://docs.cohere.com/v2/docs/streaming
 */
export const cohere: StreamDialect = {
  name: 'cohere',
  needsTerminal: true,
  errorBody: cohereError,
  answers: cohereAnswerForm,
  follow: () => new ChatStream(),
}

interface ChatEvent {
  type: unknown
  error: unknown
  delta: { finish_reason?: unknown }
}

/** An end that is none. Its SDK hands it out as any other event. */
const failed = /^(ERROR|TIMEOUT)$/

class ChatStream implements DialectState {
  complete = false

  observe({ data }: SSEEvent): EventRole {
    const { type = '', error, delta } = jsonOf<ChatEvent>(data) ?? {}
    if (error) return 'error'
    if (type === 'message-end') {
      if (failed.test(String(delta?.finish_reason))) return 'error'
      this.complete = true
      return 'terminal'
    }
    return String(type).endsWith('-delta') ? 'content' : 'other'
  }

  closing(): SSEEvent[] {
    return []
  }

  /** Its SDK fails for an event without `type`, and hands out any event that has one. */
  failing(error: StreamError, message: string): SSEEvent[] {
    return [{ data: cohereError(error, message) }]
  }
}

/** Its own clients read `message`. */
function cohereError(error: StreamError, message: string, requestId?: string): object {
  return { ...openaiErrorBody(error, message, requestId), message }
}
