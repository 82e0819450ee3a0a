import type { SSEEvent } from '../framing/sse/encode.js'
import { type AnswerForm, type CollectedAnswer, isObject, jsonOf } from './dialect.js'
import { merge, replace } from './merge.js'

interface Said {
  message?: unknown
  response?: unknown
  thinking?: unknown
  logprobs?: unknown
}

interface Line extends Said {
  done?: unknown
  error?: unknown
  [more: string]: unknown
}

/**
 * The responses of `/api/chat` and `/api/generate` to `"stream": false`, and the lines with the same meaning.
 *
 * @see https://docs.ollama.com/api/chat
 */
export const lineAnswerForm: AnswerForm = {
  toEvents(answer) {
    const line = jsonOf<Line>(answer)
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
  readonly #said: { [member: string]: unknown } = {}
  readonly #end: { [member: string]: unknown } = {}

  add({ data }: SSEEvent): void {
    const line = jsonOf<Line>(data)
    if (!line) return
    const { message, response, thinking, logprobs, ...end } = line
    // It would be missing if nothing but tools were called.
    if (isObject(message)) this.#said.message ??= { role: 'assistant', content: '' }
    this.size += merge(this.#said, { message, response, thinking, logprobs }) + replace(this.#end, end)
  }

  get answer(): unknown {
    return { ...this.#end, ...this.#said }
  }
}
