import type { StreamError } from '../errors/stream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import {
  type AnswerForm,
  type CollectedAnswer,
  type DialectState,
  EndedByEvent,
  type EventRole,
  entrySize,
  isObject,
  type JsonObject,
  jsonOf,
  objectsIn,
  type StreamDialect,
  sizeOf,
} from './dialect.js'
import { merge, mergeAt } from './merge.js'
import { openaiErrorBody } from './plain.js'

/**
 * A response of `/v2/chat` and the events that say the same.
 *
 * @see https://docs.cohere.com/v2/reference/chat
 */
const chatAnswerForm: AnswerForm = {
  toEvents(answer) {
    const { message, finish_reason: reason, ...rest } = jsonOf(answer) ?? {}
    if (!isObject(message) || typeof reason !== 'string') return undefined
    const { content, tool_calls: calls, citations } = message
    if (![content, calls, citations].every(isListOfObjects)) return undefined
    return chatEvents(message, { finish_reason: reason, ...rest })
  },
  collect: () => new CollectedMessage(),
}

const isListOfObjects = (value: unknown) =>
  value === undefined || value === null || (Array.isArray(value) && value.every(isObject))

function* chatEvents(message: JsonObject, { id, ...end }: JsonObject): Generator<SSEEvent> {
  const { role = 'assistant', content, tool_plan: plan, tool_calls: calls, citations } = message
  const named = (type: string, more: object): SSEEvent => ({ event: type, data: { type, ...more } })
  const said = (message: JsonObject) => ({ delta: { message } })
  yield named('message-start', { id, ...said({ role }) })
  if (plan) yield named('tool-plan-delta', said({ tool_plan: plan }))
  for (const [index, { type = 'text', ...piece }] of objectsIn(content).entries()) {
    const empty = Object.fromEntries(Object.keys(piece).map((name) => [name, '']))
    yield named('content-start', { index, ...said({ content: { type, ...empty } }) })
    yield named('content-delta', { index, ...said({ content: piece }) })
    yield named('content-end', { index })
  }
  for (const [index, call] of objectsIn(calls).entries()) {
    yield named('tool-call-start', { index, ...said({ tool_calls: call }) })
    yield named('tool-call-end', { index })
  }
  for (const [index, citation] of objectsIn(citations).entries()) {
    yield named('citation-start', { index, ...said({ citations: citation }) })
    yield named('citation-end', { index })
  }
  yield named('message-end', { id, delta: end })
}

class CollectedMessage implements CollectedAnswer {
  size = 0
  readonly #answer: JsonObject = {}
  readonly #message: JsonObject = { role: 'assistant' }
  readonly #content = new Map<unknown, JsonObject>()
  readonly #calls = new Map<unknown, JsonObject>()
  readonly #citations: unknown[] = []

  add({ data }: SSEEvent): void {
    const { type, id, index = 0, delta, logprobs } = jsonOf(data) ?? {}
    this.size += merge(this.#answer, { id, logprobs: logprobs && [logprobs].flat() })
    if (!isObject(delta)) return
    if (type === 'message-end') this.size += merge(this.#answer, delta)
    const { message } = delta
    if (!isObject(message) || !Number.isSafeInteger(index) || Number(index) < 0) return
    const { content, tool_calls: call, citations: citation, ...rest } = message
    this.size += merge(this.#message, rest)
    // Nothing is added of the empty lists that a message begins with.
    if (isObject(content)) this.size += mergeAt(this.#content, index, content)
    if (isObject(call)) this.size += mergeAt(this.#calls, index, call)
    if (!isObject(citation)) return
    this.size += entrySize + sizeOf(citation)
    this.#citations.push(citation)
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

/**
 * Streams of Cohere's `/v2/chat`: complete with `message-end`.
 *
 * @see https://docs.cohere.com/v2/docs/streaming
 */
export const cohere: StreamDialect = {
  name: 'cohere',
  needsTerminal: true,
  errorBody: cohereError,
  answers: chatAnswerForm,
  follow: () => new ChatStream(),
}

/** An end that is none. Its SDK hands it out as any other event. */
const failed = /^(ERROR|TIMEOUT)$/

class ChatStream extends EndedByEvent implements DialectState {
  observe({ data }: SSEEvent): EventRole {
    const { type = '', error, delta } = jsonOf(data) ?? {}
    if (error) return 'error'
    if (type === 'message-end') {
      if (failed.test(String(Object(delta).finish_reason))) return 'error'
      this.complete = true
      return 'terminal'
    }
    return String(type).endsWith('-delta') ? 'content' : 'other'
  }

  /** Its SDK fails for an event without `type`, and hands out any event that has one. */
  failing(error: StreamError, message: string): SSEEvent[] {
    return [{ data: cohereError(error, message) }]
  }
}

/** Its own clients read `message`. */
function cohereError(error: StreamError, message: string, requestId?: string): object {
  return { ...openaiErrorBody(error, message, requestId), message }
}
