import type { SSEEvent } from '../framing/sse/encode.js'
import { CollectedChoices, maxChoices } from './choices.js'
import type { AnswerForm, CollectedAnswer, JsonObject } from './dialect.js'
import { isObject, jsonOf, objectsIn } from './dialect.js'
import { merge, mergeAt } from './merge.js'

/**
 * A `chat.completion` (or `text_completion`) and the chunks that say the same.
 *
 * @see https://platform.openai.com/docs/api-reference/chat/object
 */
export const chatAnswerForm: AnswerForm = {
  toEvents(answer) {
    const { object, choices, usage, ...rest } = jsonOf(answer) ?? {}
    if (!Array.isArray(choices) || choices.length === 0 || choices.length > maxChoices) return undefined
    if (!choices.every(isObject)) return undefined
    return chunks(choices, usage, rest)
  },
  collect: () => new CollectedCompletion(),
}

function* chunks(choices: JsonObject[], usage: unknown, rest: object): Generator<SSEEvent> {
  const isText = choices.every(({ message }) => message === undefined)
  const head = { ...rest, object: isText ? 'text_completion' : 'chat.completion.chunk' }
  const chunk = (choice: object): SSEEvent => ({ data: { ...head, choices: [choice] } })
  for (const [at, choice] of choices.entries()) {
    const { message, text, finish_reason: finishReason, index = 0, ...more } = choice
    const open = { ...more, index, finish_reason: null }
    if (isText) yield chunk({ ...open, text })
    else {
      const { role = 'assistant', ...said } = Object(message) as JsonObject
      yield chunk({ index, delta: { role, content: '' }, finish_reason: null })
      yield chunk({ ...open, delta: numbered(said) })
    }
    const end = { index, finish_reason: finishReason ?? 'stop', ...(isText ? { text: '' } : { delta: {} }) }
    // Beside the last choice, where also those read it that asked for no usage chunk.
    const isLast = at === choices.length - 1
    yield { data: { ...head, choices: [end], ...(isLast && usage ? { usage } : {}) } }
  }
  yield { data: '[DONE]' }
}

/** In a stream each call of a tool says which one it is. */
function numbered(message: JsonObject): JsonObject {
  const { tool_calls: calls } = message
  if (!Array.isArray(calls)) return message
  return { ...message, tool_calls: calls.map((call, index) => ({ index, ...call })) }
}

class CollectedCompletion implements CollectedAnswer {
  size = 0
  #head: JsonObject | undefined
  #usage: unknown
  readonly #choices = new CollectedChoices(() => new CollectedChoice())

  add({ data }: SSEEvent): void {
    const chunk = jsonOf(data)
    if (!chunk) return
    const { choices, usage, ...head } = chunk
    // Some begin with a chunk that has everything but its id.
    if (!this.#head?.id) this.#head = head
    this.#usage = usage ?? this.#usage
    this.size += this.#choices.add(choices)
  }

  get answer(): unknown {
    const isText = this.#head?.object === 'text_completion'
    return {
      ...this.#head,
      object: isText ? 'text_completion' : 'chat.completion',
      choices: this.#choices.inOrder.map(([index, choice]) => ({ index, ...choice.answer })),
      ...(this.#usage ? { usage: this.#usage } : {}),
    }
  }
}

class CollectedChoice {
  readonly #more: JsonObject = {}
  #text: string | undefined
  #finishReason: unknown = null
  readonly #message: JsonObject = { role: 'assistant', content: null }
  /** By the number that each says it has, wherever an upstream begins to count. */
  readonly #calls = new Map<unknown, JsonObject>()

  add({ index: _index, delta, text, finish_reason: finishReason, ...more }: JsonObject): number {
    let grown = merge(this.#more, more)
    this.#finishReason = finishReason || this.#finishReason
    if (typeof text === 'string') {
      this.#text = `${this.#text ?? ''}${text}`
      grown += text.length
    }
    if (!isObject(delta)) return grown
    const { tool_calls: calls, ...said } = delta
    grown += merge(this.#message, said)
    for (const { index = this.#calls.size, ...piece } of objectsIn(calls))
      grown += mergeAt(this.#calls, index, piece)
    return grown
  }

  get answer(): object {
    const end = { ...this.#more, finish_reason: this.#finishReason }
    if (this.#text !== undefined) return { text: this.#text, ...end }
    const calls = this.#calls.size > 0 ? { tool_calls: [...this.#calls.values()] } : {}
    return { message: { ...this.#message, ...calls }, ...end }
  }
}
