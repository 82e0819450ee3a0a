import type { SSEEvent } from '../framing/sse/encode.js'
import { type AnswerForm, type CollectedAnswer, entrySize, isObject, jsonOf, sizeOf } from './dialect.js'
import { merge } from './merge.js'

interface Piece {
  [member: string]: unknown
}

interface Message extends Piece {
  content?: unknown
  tool_calls?: unknown
  tool_plan?: unknown
  citations?: unknown
}

interface Answer extends Piece {
  id?: unknown
  message?: unknown
  finish_reason?: unknown
  usage?: unknown
  logprobs?: unknown
}

interface ChatEvent {
  type: string
  id?: unknown
  index?: number
  delta?: Piece
  logprobs?: unknown
}

/**
 * A response of `/v2/chat` and the events that say the same.
 *
 * @see https://docs.cohere.com/v2/reference/chat
 */
export const cohereAnswerForm: AnswerForm = {
  toEvents(answer) {
    const { message, finish_reason: reason, ...rest } = jsonOf<Answer>(answer) ?? {}
    if (!isObject(message) || typeof reason !== 'string') return undefined
    const { content, tool_calls: calls, citations } = message
    if (![content, calls, citations].every(isListOfObjects)) return undefined
    return named({ ...rest, message, finish_reason: reason })
  },
  collect: () => new CollectedMessage(),
}

const isListOfObjects = (value: unknown) =>
  value === undefined || value === null || (Array.isArray(value) && value.every(isObject))

const listOf = (value: unknown) => (Array.isArray(value) ? (value as Piece[]) : [])

function* named(answer: Answer): Generator<SSEEvent> {
  for (const event of chatEvents(answer)) yield { event: event.type, data: event }
}

function* chatEvents({ id, message, finish_reason: reason, ...more }: Answer): Generator<ChatEvent> {
  const {
    role = 'assistant',
    content,
    tool_plan: plan,
    tool_calls: calls,
    citations,
  } = Object(message) as Message
  const said = (message: Piece) => ({ delta: { message } })
  yield { type: 'message-start', id, ...said({ role }) }
  if (plan) yield { type: 'tool-plan-delta', ...said({ tool_plan: plan }) }
  for (const [index, { type = 'text', ...piece }] of listOf(content).entries()) {
    const empty = Object.fromEntries(Object.keys(piece).map((name) => [name, '']))
    yield { type: 'content-start', index, ...said({ content: { type, ...empty } }) }
    yield { type: 'content-delta', index, ...said({ content: piece }) }
    yield { type: 'content-end', index }
  }
  for (const [index, call] of listOf(calls).entries()) {
    yield { type: 'tool-call-start', index, ...said({ tool_calls: call }) }
    yield { type: 'tool-call-end', index }
  }
  for (const [index, citation] of listOf(citations).entries()) {
    yield { type: 'citation-start', index, ...said({ citations: citation }) }
    yield { type: 'citation-end', index }
  }
  yield { type: 'message-end', id, delta: { finish_reason: reason, ...more } }
}

class CollectedMessage implements CollectedAnswer {
  size = 0
  readonly #answer: Answer = {}
  readonly #message: Message = { role: 'assistant' }
  readonly #content = new Map<number, Piece>()
  readonly #calls = new Map<number, Piece>()
  readonly #citations: unknown[] = []

  add({ data }: SSEEvent): void {
    const { type, id, index = 0, delta, logprobs } = jsonOf<ChatEvent>(data) ?? {}
    this.size += merge(this.#answer, { id, logprobs: logprobs && [logprobs].flat() })
    if (type === 'message-end' && isObject(delta)) this.size += merge(this.#answer, delta)
    const message = delta?.message
    if (!isObject(message) || !Number.isSafeInteger(index) || index < 0) return
    const { content, tool_calls: call, citations: citation, ...rest } = message as Message
    this.size += merge(this.#message, rest)
    this.#add(this.#content, index, content)
    this.#add(this.#calls, index, call)
    if (!isObject(citation)) return
    this.size += entrySize + sizeOf(citation)
    this.#citations.push(citation)
  }

  /** Nothing is added of the empty lists that a message begins with. */
  #add(pieces: Map<number, Piece>, index: number, piece: unknown): void {
    if (!isObject(piece)) return
    const known = pieces.get(index) ?? {}
    if (!pieces.has(index)) this.size += entrySize
    pieces.set(index, known)
    this.size += merge(known, piece)
  }

  get answer(): unknown {
    const lists = {
      content: [...this.#content.values()],
      tool_calls: [...this.#calls.values()],
      citations: this.#citations,
    }
    const given = Object.entries(lists).filter(([, list]) => list.length > 0)
    const { tool_plan: plan, ...message } = this.#message
    return {
      ...this.#answer,
      message: { ...message, ...(plan ? { tool_plan: plan } : {}), ...Object.fromEntries(given) },
    }
  }
}
