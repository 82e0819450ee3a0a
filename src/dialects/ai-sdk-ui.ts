import type { StreamError } from '../errors/stream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import type { DialectState, EventRole, SkippedEvents, StreamDialect } from './dialect.js'
import { jsonOf } from './dialect.js'
import { openaiErrorBody } from './plain.js'

/**
 * The UI message streams of the AI SDK (`useChat`): complete with `finish`, and ended by `[DONE]`, after an
 * error as well.
 *
 * @see https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol#data-stream-protocol
 */
export const aiSdkUi: StreamDialect = {
  name: 'ai-sdk-ui',
  needsTerminal: true,
  headers: { 'x-vercel-ai-ui-message-stream': 'v1' },
  errorBody: openaiErrorBody,
  follow: () => new UiMessageStream(),
}

const done: SSEEvent = { data: '[DONE]' }
const content =
  /-delta$|^(file|source-url|source-document|tool-input-available|tool-output-available)$|^data-/

/** In a string of JSON a quote has a backslash: these find names, and not what a model wrote. */
const pieces: SkippedEvents = {
  content: /"type"\s*:\s*"(?:text|reasoning)-delta"/,
  unless: /"type"\s*:(?!\s*"(?:text|reasoning)-delta")/,
}

class UiMessageStream implements DialectState {
  #done = false
  #finished = false

  get complete(): boolean {
    return this.#done || this.#finished
  }

  observe({ data }: SSEEvent): EventRole {
    if (data === '[DONE]') {
      this.#done = true
      return 'terminal'
    }
    const type = String(jsonOf(data)?.type)
    if (type === 'error') return 'error'
    if (type === 'finish' || type === 'abort') this.#finished = true
    return content.test(type) ? 'content' : 'other'
  }

  skips(): SkippedEvents | undefined {
    return this.complete ? undefined : pieces
  }

  closing(): SSEEvent[] {
    return this.#done ? [] : [done]
  }

  failing(_error: StreamError, message: string): SSEEvent[] {
    return [{ data: { type: 'error', errorText: message } }, done]
  }
}
