import type { SSEEvent } from '../framing/sse/encode.js'
import { type AnswerForm, type CollectedAnswer, entrySize, isObject, jsonOf } from './dialect.js'
import { merge } from './merge.js'
import { isChoiceIndex, maxChoices } from './openai-choices.js'

interface Message {
  role?: unknown
  content?: unknown
  tool_calls?: unknown
  [more: string]: unknown
}

interface Choice {
  index?: number
  message?: Message
  delta?: Message
  text?: unknown
  finish_reason?: unknown
  [more: string]: unknown
}

interface Completion {
  object: unknown
  choices: Choice[]
  usage: unknown
  [more: string]: unknown
}

/**
 * A `chat.completion` (or `text_completion`) and the chunks that say the same.
 *
 * @see https://platform.openai.com/docs/api-reference/chat/object
 */
export const chatAnswerForm: AnswerForm = {
  toEvents(answer) {
    const { object, choices, usage, ...rest } = jsonOf<Completion>(answer) ?? {}
    if (!Array.isArray(choices) || choices.length === 0 || choices.length > maxChoices) return undefined
    if (!choices.every(isObject)) return undefined
    return chunks(choices, usage, rest)
  },
  collect: () => new CollectedCompletion(),
}

function* chunks(choices: Choice[], usage: unknown, rest: object): Generator<SSEEvent> {
  const isText = choices.every(({ message }) => message === undefined)
  const head = { ...rest, object: isText ? 'text_completion' : 'chat.completion.chunk' }
  const chunk = (choice: Choice): SSEEvent => ({ data: { ...head, choices: [choice] } })
  for (const [at, choice] of choices.entries()) {
    const { message, text, finish_reason: finishReason, index = 0, ...more } = choice
    const open = { ...more, index, finish_reason: null }
    if (isText) yield chunk({ ...open, text })
    else {
      const { role = 'assistant', ...said } = message ?? {}
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
function numbered(message: Message): Message {
  const { tool_calls: calls } = message
  if (!Array.isArray(calls)) return message
  return { ...message, tool_calls: calls.map((call, index) => ({ index, ...call })) }
}

class CollectedCompletion implements CollectedAnswer {
  size = 0
  #head: Partial<Completion> | undefined
  #usage: unknown
  readonly #choices = new Map<number, CollectedChoice>()

  add({ data }: SSEEvent): void {
    const chunk = jsonOf<Completion>(data)
    if (!chunk) return
    const { choices, usage, ...head } = chunk
    // Some begin with a chunk that has everything but its id.
    if (!this.#head?.id) this.#head = head
    this.#usage = usage ?? this.#usage
    for (const choice of Array.isArray(choices) ? choices : []) {
      if (!isObject(choice)) continue
      const { index = 0 } = choice
      if (!isChoiceIndex(index)) continue
      const collected = this.#choices.get(index) ?? new CollectedChoice(index)
      this.#choices.set(index, collected)
      this.size += collected.add(choice)
    }
  }

  get answer(): unknown {
    const isText = this.#head?.object === 'text_completion'
    const choices = [...this.#choices.values()].sort((a, b) => a.index - b.index)
    return {
      ...this.#head,
      object: isText ? 'text_completion' : 'chat.completion',
      choices: choices.map((choice) => choice.answer),
      ...(this.#usage ? { usage: this.#usage } : {}),
    }
  }
}

class CollectedChoice {
  readonly index: number
  #more: Message = {}
  #text: string | undefined
  #finishReason: unknown = null
  readonly #message: Message = { role: 'assistant', content: null }
  /** By the number that each says it has, wherever an upstream begins to count. */
  readonly #calls = new Map<unknown, Message>()

  constructor(index: number) {
    this.index = index
  }

  /** @returns by how much it has grown, in characters */
  add({ index: _index, delta, text, finish_reason: finishReason, ...more }: Choice): number {
    let grown = merge(this.#more, more)
    this.#finishReason = finishReason || this.#finishReason
    if (typeof text === 'string') {
      this.#text = `${this.#text ?? ''}${text}`
      grown += text.length
    }
    if (!isObject(delta)) return grown
    const { tool_calls: calls, ...said } = delta
    grown += merge(this.#message, said)
    for (const call of Array.isArray(calls) ? calls : []) {
      if (!isObject(call)) continue
      const { index = this.#calls.size, ...piece } = call
      const known = this.#calls.get(index)
      const collected = known ?? {}
      if (!known) {
        this.#calls.set(index, collected)
        grown += entrySize
      }
      grown += merge(collected, piece)
    }
    return grown
  }

  get answer(): object {
    const { index } = this
    const end = { ...this.#more, finish_reason: this.#finishReason }
    if (this.#text !== undefined) return { index, text: this.#text, ...end }
    const calls = this.#calls.size > 0 ? { tool_calls: [...this.#calls.values()] } : {}
    return { index, message: { ...this.#message, ...calls }, ...end }
  }
}
