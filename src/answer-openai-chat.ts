import { jsonOf } from './event-json.js'
import type { SSEEvent } from './sse-encode.js'
import type { AnswerForm, CollectedAnswer } from './stream-dialect.js'

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
    if (!Array.isArray(choices) || choices.length === 0) return undefined
    const isText = choices.every(({ message }) => message === undefined)
    const head = { ...rest, object: isText ? 'text_completion' : 'chat.completion.chunk' }
    const chunk = (choice: Choice): SSEEvent => ({ data: { ...head, choices: [choice] } })
    const events = choices.flatMap(({ message, text, finish_reason: finishReason, index = 0, ...more }) => {
      const open = { ...more, index, finish_reason: null }
      const end = { index, finish_reason: finishReason ?? 'stop' }
      if (isText) return [chunk({ ...open, text }), chunk({ ...end, text: '' })]
      const { role = 'assistant', ...said } = message ?? {}
      const begun = { index, delta: { role, content: '' }, finish_reason: null }
      return [chunk(begun), chunk({ ...open, delta: numbered(said) }), chunk({ ...end, delta: {} })]
    })
    // Beside the last choice, where also those read it that asked for no usage chunk.
    const last = events.at(-1)
    if (last && usage) Object.assign(last.data as object, { usage })
    return [...events, { data: '[DONE]' }]
  },
  collect: () => new CollectedCompletion(),
}

/** In a stream each call of a tool says which one it is. */
function numbered(message: Message): Message {
  const { tool_calls: calls } = message
  if (!Array.isArray(calls)) return message
  return { ...message, tool_calls: calls.map((call, index) => ({ index, ...call })) }
}

class CollectedCompletion implements CollectedAnswer {
  #head: Partial<Completion> | undefined
  #usage: unknown
  readonly #choices = new Map<number, Choice>()

  add({ data }: SSEEvent): void {
    const chunk = jsonOf<Completion>(data)
    if (!chunk) return
    const { choices, usage, ...head } = chunk
    this.#head ??= head
    this.#usage = usage ?? this.#usage
    for (const choice of Array.isArray(choices) ? choices : []) {
      if (typeof choice === 'object' && choice !== null) this.#addChoice(choice)
    }
  }

  get answer(): unknown {
    const isText = this.#head?.object === 'text_completion'
    return {
      ...this.#head,
      object: isText ? 'text_completion' : 'chat.completion',
      choices: [...this.#choices.values()].sort((a, b) => (a.index ?? 0) - (b.index ?? 0)),
      ...(this.#usage ? { usage: this.#usage } : {}),
    }
  }

  #addChoice({ index = 0, delta, text, finish_reason: finishReason, ...more }: Choice): void {
    const isText = text !== undefined
    const begun: Choice = isText
      ? { index, text: '', finish_reason: null }
      : { index, message: { role: 'assistant', content: null }, finish_reason: null }
    const choice = this.#choices.get(index) ?? begun
    this.#choices.set(index, choice)
    Object.assign(choice, more)
    if (finishReason) choice.finish_reason = finishReason
    if (isText) choice.text = `${choice.text}${text}`
    else if (choice.message && delta) merge(choice.message, delta)
  }
}

/** Adds a delta to what has been said: text to text, the calls of tools by their number. */
function merge(said: Message, delta: Message): void {
  for (const [name, value] of Object.entries(delta)) {
    const before = said[name]
    // An empty beginning is no content yet: a message that only calls tools has none.
    if (value === null || value === undefined || (name === 'content' && value === '')) continue
    if (name === '__proto__') continue
    if (name === 'role') said.role = value
    else if (name === 'tool_calls' && Array.isArray(value)) said.tool_calls = mergeCalls(before, value)
    else if (typeof value === 'string' && typeof before === 'string' && name !== 'id' && name !== 'type') {
      said[name] = before + value
    } else if (isObject(value) && isObject(before)) merge(before, value)
    else said[name] = structuredClone(value)
  }
}

function mergeCalls(before: unknown, deltas: readonly (Message & { index?: number })[]): Message[] {
  const calls = Array.isArray(before) ? (before as Message[]) : []
  for (const { index = calls.length, ...delta } of deltas) {
    const place = Math.min(index, calls.length)
    calls[place] ??= {}
    merge(calls[place], delta)
  }
  return calls
}

function isObject(value: unknown): value is Message {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
