import type { StreamError } from '../errors/stream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import { messageAnswerForm } from './answer-anthropic.js'
import { differing, type EventRole, type RepetitiveStream, type StreamDialect } from './dialect.js'
import { jsonOf } from './event-json.js'

/**
 * Streams of Anthropic's `/v1/messages`: every event has a name, and `message_stop` is the last.
 *
 * @see https://docs.anthropic.com/en/docs/build-with-claude/streaming
 * @see https://docs.anthropic.com/en/api/errors
 */
export const anthropic: StreamDialect = {
  name: 'anthropic',
  needsTerminal: true,
  errorBody: (error, message, requestId) => ({
    ...anthropicError(error, message),
    ...(requestId ? { request_id: requestId } : {}),
  }),
  answers: messageAnswerForm,
  follow: () => new MessageStream(),
}

interface MessageEvent {
  type: unknown
  delta: { stop_reason?: unknown }
}

const mayDiffer = /"(?:text|thinking|partial_json)": *"/g

class MessageStream implements RepetitiveStream {
  // Not as a field: a class with a name that is computed is kept by every bundler.
  declare readonly [differing]: RegExp
  #stopped = false
  /** A reason to stop has been given: all that is missing is the event that says so. */
  #hasReason = false

  constructor() {
    this[differing] = mayDiffer
  }

  get complete(): boolean {
    return this.#stopped || this.#hasReason
  }

  observe({ data, event }: SSEEvent): EventRole {
    const json = jsonOf<MessageEvent>(data)
    const type = json?.type ?? event
    if (type === 'error') return 'error'
    if (type === 'message_delta' && json?.delta?.stop_reason) this.#hasReason = true
    if (type === 'message_stop') {
      this.#stopped = true
      return 'terminal'
    }
    return type === 'content_block_delta' ? 'content' : 'other'
  }

  closing(): SSEEvent[] {
    return this.#stopped ? [] : [{ event: 'message_stop', data: { type: 'message_stop' } }]
  }

  /** Without the name of the event, Anthropic's SDK does not see it. */
  failing(error: StreamError, message: string): SSEEvent[] {
    return [{ event: 'error', data: anthropicError(error, message) }]
  }
}

const typeByStatus: Record<number, string> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  503: 'overloaded_error',
  504: 'timeout_error',
  529: 'overloaded_error',
}

function anthropicError({ status }: StreamError, message: string) {
  const fallback = status < 500 ? 'invalid_request_error' : 'api_error'
  return { type: 'error', error: { type: typeByStatus[status] ?? fallback, message } }
}
