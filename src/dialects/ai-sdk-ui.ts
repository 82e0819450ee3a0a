import type { StreamError } from '../errors/stream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import { differing, type EventRole, jsonOf, type RepetitiveStream, type StreamDialect } from './dialect.js'
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

const mayDiffer = /"(?:delta|inputTextDelta)": *"/g

class UiMessageStream implements RepetitiveStream {
  // Not as a field: a class with a name that is computed is kept by every bundler.
  declare readonly [differing]: RegExp
  #done = false
  #finished = false

  constructor() {
    this[differing] = mayDiffer
  }

  get complete(): boolean {
    return this.#done || this.#finished
  }

  observe({ data }: SSEEvent): EventRole {
    if (data === '[DONE]') {
      this.#done = true
      return 'terminal'
    }
    const type = String(jsonOf<{ type: unknown }>(data)?.type)
    if (type === 'error') return 'error'
    if (type === 'finish' || type === 'abort') this.#finished = true
    return content.test(type) ? 'content' : 'other'
  }

  closing(): SSEEvent[] {
    return this.#done ? [] : [done]
  }

  failing(_error: StreamError, message: string): SSEEvent[] {
    return [{ data: { type: 'error', errorText: message } }, done]
  }
}
