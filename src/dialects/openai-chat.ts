import type { StreamError } from '../errors/stream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import {
  type AnswerForm,
  type CollectedAnswer,
  type DialectState,
  type EventRole,
  type FailingOptions,
  jsonOf,
  type SkippedEvents,
  type StreamDialect,
  setOwn,
} from './dialect.js'
import { openaiError, openaiErrorBody } from './plain.js'

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
const chatAnswerForm: AnswerForm = {
  toEvents(answer) {
    const { object, choices, usage, ...rest } = jsonOf<Completion>(answer) ?? {}
    if (!Array.isArray(choices) || choices.length === 0 || !choices.every(isObject)) return undefined
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
      const collected = this.#choices.get(index) ?? new CollectedChoice(index)
      this.#choices.set(index, collected)
      collected.add(choice)
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

  add({ index: _index, delta, text, finish_reason: finishReason, ...more }: Choice): void {
    merge(this.#more, more)
    this.#finishReason = finishReason || this.#finishReason
    if (typeof text === 'string') this.#text = `${this.#text ?? ''}${text}`
    if (!isObject(delta)) return
    const { tool_calls: calls, ...said } = delta
    merge(this.#message, said)
    for (const call of Array.isArray(calls) ? calls : []) {
      if (!isObject(call)) continue
      const { index = this.#calls.size, ...piece } = call
      const known = this.#calls.get(index) ?? {}
      this.#calls.set(index, known)
      merge(known, piece)
    }
  }

  get answer(): object {
    const { index } = this
    const end = { ...this.#more, finish_reason: this.#finishReason }
    if (this.#text !== undefined) return { index, text: this.#text, ...end }
    const calls = this.#calls.size > 0 ? { tool_calls: [...this.#calls.values()] } : {}
    return { index, message: { ...this.#message, ...calls }, ...end }
  }
}

/** Adds a piece to what has been said: text to text, items to items. */
function merge(said: Message, piece: Message): void {
  for (const [name, value] of Object.entries(piece)) {
    const before = Object.hasOwn(said, name) ? said[name] : undefined
    // An empty beginning is no content yet: a message that only calls tools has none.
    const isNothing = value === undefined || (name === 'content' && value === '')
    if (isNothing || (value === null && before !== undefined)) continue
    if (typeof value === 'string' && typeof before === 'string' && !fixed.has(name))
      setOwn(said, name, before + value)
    else if (Array.isArray(value) && Array.isArray(before)) setOwn(said, name, [...before, ...value])
    else if (isObject(value) && isObject(before)) merge(before, value)
    else setOwn(said, name, structuredClone(value))
  }
}

/** What is said once, and again perhaps, but never in pieces. */
const fixed = new Set(['id', 'type', 'role', 'object'])

function isObject(value: unknown): value is Message {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * Streams of `/chat/completions` and `/completions`: complete with `[DONE]`, which is added once every choice
 * has its `finish_reason`, and is never sent after an error.
 *
 * @see https://platform.openai.com/docs/api-reference/chat-streaming
 */
export const openaiChat: StreamDialect = {
  name: 'openai-chat',
  needsTerminal: true,
  errorBody: openaiErrorBody,
  answers: chatAnswerForm,
  follow: () => new ChatStream(),
}

interface Chunk {
  error?: unknown
  id?: unknown
  created?: unknown
  model?: unknown
  choices?: unknown
}

interface ChunkChoice {
  index?: unknown
  text?: unknown
  delta?: { content?: unknown; [more: string]: unknown }
  finish_reason?: unknown
}

/** In a string of JSON a quote has a backslash: these find names, and not what a model wrote. */
const pieces: SkippedEvents = {
  content: /"(?:content|text|reasoning_content|reasoning|arguments)"\s*:\s*"[^"]/,
  unless: /"(?:error"\s*:|finish_reason"\s*:\s*[^n\s]|index"\s*:\s*[^0\s]|usage"\s*:\s*[^n\s])/,
}

class ChatStream implements DialectState {
  /** What all chunks have in common. */
  #first: Pick<Chunk, 'id' | 'created' | 'model'> | undefined
  #terminal = false
  #finished = false
  #goesOn = false
  /** Choices that have begun and have no `finish_reason` yet. */
  readonly #open = new Set<unknown>()
  /** Some upstreams send one more, empty delta after it. */
  #closed: Set<unknown> | undefined

  get complete(): boolean {
    return this.#terminal || (this.#finished && this.#open.size === 0 && !this.#goesOn)
  }

  observe({ data }: SSEEvent): EventRole {
    if (data === '[DONE]') {
      this.#terminal = true
      return 'terminal'
    }
    if (this.#isPlainContent(data)) return 'content'
    const chunk = jsonOf<Chunk>(data)
    if (!chunk) return 'other'
    if (chunk.error) return 'error'
    const { id, created, model } = chunk
    this.#first ??= { id, created, model }
    let role: EventRole = 'other'
    for (const choice of Array.isArray(chunk.choices) ? (chunk.choices as ChunkChoice[]) : []) {
      if (typeof choice !== 'object' || choice === null) continue
      if (choice.finish_reason === 'error') return 'error'
      const isContent = hasContent(choice)
      this.#follow(choice, isContent)
      if (isContent) role = 'content'
    }
    return role
  }

  /** Most chunks are a piece of the one choice there is, and nothing else: that can be seen without parsing. */
  #isPlainContent(data: unknown): boolean {
    if (typeof data !== 'string' || !this.skips()) return false
    return data.startsWith('{') && pieces.content.test(data) && !pieces.unless.test(data)
  }

  /** Once a choice has ended, each event may say that the stream goes on all the same. */
  skips(): SkippedEvents | undefined {
    return this.#first && !this.#closed && !this.#terminal && this.#open.has(0) ? pieces : undefined
  }

  closing(): SSEEvent[] {
    return this.#terminal ? [] : [{ data: '[DONE]' }]
  }

  emptyDelta(): SSEEvent | undefined {
    if (!this.#first || this.complete) return undefined
    const { id, created, model } = this.#first
    const choices = [{ index: 0, delta: {}, finish_reason: null }]
    return { data: { id, object: 'chat.completion.chunk', created, model, choices } }
  }

  /** `error` comes first because some clients look for that very prefix; `choices` because others read on. */
  failing(error: StreamError, message: string, { doneAfterError = false }: FailingOptions = {}): SSEEvent[] {
    const { id = '', created = Math.floor(Date.now() / 1000), model = '' } = this.#first ?? {}
    const choices = [{ index: 0, delta: { role: 'error', content: '' }, finish_reason: 'error' }]
    const failed = { error: openaiError(error, message), id, object: 'chat.completion.chunk', created, model }
    return [{ data: { ...failed, choices } }, ...(doneAfterError ? [{ data: '[DONE]' }] : [])]
  }

  #follow({ index = 0, finish_reason: finishReason }: ChunkChoice, isContent: boolean): void {
    // An upstream that says so and goes on says it with each chunk: then only [DONE] is an end.
    if (isContent && this.#closed?.has(index)) this.#goesOn = true
    if (typeof finishReason === 'string' && finishReason !== '') {
      this.#open.delete(index)
      this.#closed ??= new Set()
      this.#closed.add(index)
      this.#finished = true
    } else if (!this.#closed?.has(index)) this.#open.add(index)
  }
}

function hasContent({ delta, text }: ChunkChoice): boolean {
  if (typeof text === 'string' && text !== '') return true
  if (typeof delta !== 'object' || delta === null) return false
  return Object.entries(delta).some(
    ([name, value]) => name !== 'role' && value !== '' && value !== null && value !== undefined,
  )
}
