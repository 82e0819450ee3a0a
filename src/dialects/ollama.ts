import type { StreamError } from '../errors/stream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import {
  type DialectRequest,
  type DialectState,
  type EventRole,
  jsonOf,
  type StreamDialect,
} from './dialect.js'
import { lineAnswerForm } from './ollama-answer.js'

/**
 * Streams of Ollama's `/api/chat` and `/api/generate`: JSON lines, complete with `"done": true`.
 *
 * @see https://docs.ollama.com/api/streaming
 */
export const ollama: StreamDialect = {
  name: 'ollama',
  needsTerminal: true,
  framing: 'ndjson',
  errorBody: (_error, message) => ({ error: message }),
  answers: lineAnswerForm,
  follow: () => new GenerateStream(),
}

/** Its libraries and its command line send their names. A browser does not, and other APIs have the same path. */
export function isOllamaClient({ headers }: DialectRequest): boolean {
  return /^ollama(-[a-z]+)?\//.test(String(headers?.['user-agent']))
}

interface Line {
  done: unknown
  error: unknown
  response: unknown
  thinking: unknown
  message: { [member: string]: unknown } | null
}

class GenerateStream implements DialectState {
  complete = false

  observe({ data }: SSEEvent): EventRole {
    const line = jsonOf<Line>(data)
    if (!line) return 'other'
    if (line.error) return 'error'
    if (line.done === true) {
      this.complete = true
      return 'terminal'
    }
    const { response, thinking, message } = line
    return response || thinking || message?.content || message?.thinking || message?.tool_calls
      ? 'content'
      : 'other'
  }

  closing(): SSEEvent[] {
    return []
  }

  failing(_error: StreamError, message: string): SSEEvent[] {
    return [{ data: { error: message } }]
  }
}
