import type { StreamError } from '../errors/stream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import {
  type AnswerForm,
  type CollectedAnswer,
  type DialectRequest,
  type DialectState,
  EndedByEvent,
  type EventRole,
  isObject,
  type JsonObject,
  jsonOf,
  type StreamDialect,
} from './dialect.js'
import { merge, replace } from './merge.js'

/**
 * The responses of `/api/chat` and `/api/generate` to `"stream": false`, and the lines with the same meaning.
 *
 * @see https://docs.ollama.com/api/chat
 */
const lineAnswerForm: AnswerForm = {
  toEvents(answer) {
    const line = jsonOf(answer)
    if (line?.done !== true || line.error) return undefined
    const { message, response, thinking, logprobs, ...end } = line
    const head = { model: end.model, created_at: end.created_at }
    if (isObject(message)) {
      const nothing = { role: message.role ?? 'assistant', content: '' }
      return [
        { data: { ...head, message, ...(logprobs ? { logprobs } : {}), done: false } },
        { data: { ...end, message: nothing } },
      ]
    }
    if (typeof response !== 'string') return undefined
    const said = { response, ...(thinking ? { thinking } : {}), ...(logprobs ? { logprobs } : {}) }
    return [{ data: { ...head, ...said, done: false } }, { data: { ...end, response: '' } }]
  },
  collect: () => new CollectedLines(),
}

class CollectedLines implements CollectedAnswer {
  size = 0
  readonly #said: JsonObject = {}
  readonly #end: JsonObject = {}

  add({ data }: SSEEvent): void {
    const { message, response, thinking, logprobs, ...end } = jsonOf(data) ?? {}
    // It would be missing if nothing but tools were called.
    if (isObject(message)) this.#said.message ??= { role: 'assistant', content: '' }
    this.size += merge(this.#said, { message, response, thinking, logprobs }) + replace(this.#end, end)
  }

  get answer(): unknown {
    return { ...this.#end, ...this.#said }
  }
}

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

/** An app's own lines may say `done`, too. */
export function isOllamaLine(line: string): boolean {
  const { done, message, response } = jsonOf(line) ?? {}
  return typeof done === 'boolean' && (isObject(message) || typeof response === 'string')
}

class GenerateStream extends EndedByEvent implements DialectState {
  observe({ data }: SSEEvent): EventRole {
    const { error, done, response, thinking, message } = jsonOf(data) ?? {}
    if (error) return 'error'
    if (done === true) {
      this.complete = true
      return 'terminal'
    }
    const { content, thinking: thought, tool_calls: calls } = Object(message)
    return response || thinking || content || thought || calls ? 'content' : 'other'
  }

  failing(_error: StreamError, message: string): SSEEvent[] {
    return [{ data: { error: message } }]
  }
}
