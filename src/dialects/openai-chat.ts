import type { StreamError } from '../errors/stream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import { isChoiceIndex } from './choices.js'
import {
  type DialectRequest,
  type DialectState,
  type EventRole,
  type FailingOptions,
  isObject,
  type JsonObject,
  jsonOf,
  objectsIn,
  type SkippedEvents,
  type StreamDialect,
} from './dialect.js'
import { chatAnswerForm } from './openai-chat-answer.js'
import { openaiError, openaiErrorBody } from './plain.js'

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
  follow: (request) => new ChatStream(request),
}

/** In a string of JSON a quote has a backslash: these find names, and not what a model wrote. */
const pieces: SkippedEvents = {
  content: /"(?:content|text|reasoning_content|reasoning|arguments)"\s*:\s*"[^"]/,
  unless: /"(?:error"\s*:|finish_reason"\s*:\s*[^n\s]|index"\s*:\s*[^0\s]|usage"\s*:\s*[^n\s])/,
}

class ChatStream implements DialectState {
  readonly #request: DialectRequest | undefined
  /** The members that all chunks have in common. */
  #first: JsonObject | undefined
  /** How many chunks more may bring an id: Azure's first one has none. */
  #awaited = 4
  #terminal = false
  #finished = false
  #goesOn = false
  /** Choices that have begun and have no `finish_reason` yet. */
  readonly #open = new Set<unknown>()
  /** Some upstreams send one more, empty delta after it. */
  #closed: Set<unknown> | undefined

  constructor(request?: DialectRequest) {
    this.#request = request
  }

  get complete(): boolean {
    return this.#terminal || (this.#finished && this.#open.size === 0 && !this.#goesOn)
  }

  observe({ data }: SSEEvent): EventRole {
    if (data === '[DONE]') {
      this.#terminal = true
      return 'terminal'
    }
    if (this.#isPlainContent(data)) return 'content'
    const chunk = jsonOf(data)
    if (!chunk) return 'other'
    if (chunk.error) return 'error'
    if (this.#awaited > 0) this.#begin(chunk)
    let role: EventRole = 'other'
    for (const choice of objectsIn(chunk.choices)) {
      if (choice.finish_reason === 'error') return 'error'
      const isContent = hasContent(choice)
      this.#follow(choice, isContent)
      if (isContent) role = 'content'
    }
    return role
  }

  #begin({ id, object, created, model }: JsonObject): void {
    if (!this.#first || id)
      this.#first = { id: scalarOf(id), object, created: scalarOf(created), model: scalarOf(model) }
    this.#awaited = id ? 0 : this.#awaited - 1
  }

  /** Most chunks are a piece of the one choice there is, and nothing else: that can be seen without parsing. */
  #isPlainContent(data: unknown): boolean {
    if (typeof data !== 'string' || !this.skips()) return false
    return data.startsWith('{') && pieces.content.test(data) && !pieces.unless.test(data)
  }

  /** Once a choice has ended, each event may say that the stream goes on all the same. */
  skips(): SkippedEvents | undefined {
    return this.#awaited === 0 && !this.#closed && !this.#terminal && this.#open.has(0) ? pieces : undefined
  }

  closing(): SSEEvent[] {
    return this.#terminal ? [] : [{ data: '[DONE]' }]
  }

  emptyDelta(): SSEEvent | undefined {
    if (!this.#first?.id || this.complete) return undefined
    const { id, object, created, model } = this.#first
    const [index = 0] = this.#open
    const isText = object === 'text_completion'
    const choice = { index, ...(isText ? { text: '' } : { delta: { content: '' } }), finish_reason: null }
    return {
      data: { id, object: isText ? object : 'chat.completion.chunk', created, model, choices: [choice] },
    }
  }

  /** `error` comes first because some clients look for that very prefix; `choices` because others read on. */
  failing(error: StreamError, message: string, { doneAfterError = false }: FailingOptions = {}): SSEEvent[] {
    const requested = this.#request?.model ?? ''
    const { id = '', created = Math.floor(Date.now() / 1000), model = requested } = this.#first ?? {}
    const told = openaiError(error, message)
    // Its SDK hands out any chunk that fits its types.
    if (/\bmistral/i.test(String(this.#request?.headers?.['user-agent']))) return [{ data: { error: told } }]
    const choices = [{ index: 0, delta: { role: 'error', content: '' }, finish_reason: 'error' }]
    const failed = { error: told, id, object: 'chat.completion.chunk', created, model }
    return [{ data: { ...failed, choices } }, ...(doneAfterError ? [{ data: '[DONE]' }] : [])]
  }

  #follow({ index: given, finish_reason: finishReason }: JsonObject, isContent: boolean): void {
    const index = given ?? 0
    if (!isChoiceIndex(index)) return
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

/** A member that is not a choice must not be written again: it may be nested deeper than the stack is. */
function scalarOf(value: unknown): unknown {
  return typeof value === 'object' && value !== null ? undefined : value
}

function hasContent({ delta, text }: JsonObject): boolean {
  if (typeof text === 'string' && text !== '') return true
  const isSaid = ([name, value]: [string, unknown]) =>
    name !== 'role' && value !== '' && value !== null && value !== undefined
  return isObject(delta) && Object.entries(delta).some(isSaid)
}
