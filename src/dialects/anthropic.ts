import type { StreamError } from '../errors/stream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import {
  type AnswerForm,
  type CollectedAnswer,
  type DialectState,
  type EventRole,
  entrySize,
  isObject,
  type JsonObject,
  jsonOf,
  type StreamDialect,
  setOwn,
  sizeOf,
} from './dialect.js'

/** The pieces of each kind of block: the name of its delta, and where the delta goes. */
const pieces: Record<string, { delta: string; field: string }> = {
  text: { delta: 'text_delta', field: 'text' },
  thinking: { delta: 'thinking_delta', field: 'thinking' },
}

/**
 * A message of Anthropic's API and the events that say the same.
 *
 * @see https://docs.anthropic.com/en/docs/build-with-claude/streaming
 */
const messageAnswerForm: AnswerForm = {
  toEvents(answer) {
    const message = jsonOf(answer)
    if (message?.type !== 'message') return undefined
    const { content, ...rest } = message
    return Array.isArray(content) && content.every(isObject) ? messageEvents(content, rest) : undefined
  },
  collect: () => new CollectedMessage(),
}

function* messageEvents(content: JsonObject[], message: JsonObject): Generator<SSEEvent> {
  const { stop_reason, stop_sequence = null, usage } = message
  const named = <Event extends { type: string }>(data: Event): SSEEvent => ({ event: data.type, data })
  const begun = { ...message, content: [], stop_reason: null, stop_sequence: null }
  yield named({ type: 'message_start', message: begun })
  for (const [index, block] of content.entries())
    for (const each of blockEvents(block, index)) yield named(each)
  yield named({
    type: 'message_delta',
    delta: { stop_reason: stop_reason ?? 'end_turn', stop_sequence },
    usage,
  })
  yield named({ type: 'message_stop' })
}

function blockEvents(block: JsonObject, index: number): { type: string }[] {
  const events = (empty: JsonObject, ...deltas: JsonObject[]) => [
    { type: 'content_block_start', index, content_block: empty },
    ...deltas.map((delta) => ({ type: 'content_block_delta', index, delta })),
    { type: 'content_block_stop', index },
  ]
  if (block.type === 'tool_use') {
    const partial = JSON.stringify(block.input ?? {})
    return events({ ...block, input: {} }, { type: 'input_json_delta', partial_json: partial })
  }
  const type = String(block.type)
  const piece = Object.hasOwn(pieces, type) ? pieces[type] : undefined
  if (!piece) return events(block)
  const { signature, ...rest } = block
  const signed = signature ? [{ type: 'signature_delta', signature }] : []
  const said = { type: piece.delta, [piece.field]: block[piece.field] }
  return events({ ...rest, [piece.field]: '' }, said, ...signed)
}

class CollectedMessage implements CollectedAnswer {
  size = 0
  #message: JsonObject = {}
  readonly #blocks = new Map<unknown, JsonObject>()
  readonly #inputs = new Map<unknown, string>()

  add({ data }: SSEEvent): void {
    const { type, index = 0, message, content_block: block, delta, usage } = jsonOf(data) ?? {}
    if (type === 'message_start') this.#keep(message, { ...Object(message) })
    else if (type === 'message_delta') {
      const all = { ...Object(this.#message.usage), ...Object(usage) }
      this.#keep([delta, usage], { ...this.#message, ...Object(delta), usage: all })
    } else if (!Number.isSafeInteger(index) || Number(index) < 0) return
    else if (type === 'content_block_start' && block) {
      this.size += entrySize + sizeOf(block)
      this.#blocks.set(index, { ...Object(block) })
    } else if (type === 'content_block_delta' && delta) this.#addDelta(index, Object(delta))
  }

  get answer(): unknown {
    for (const [index, text] of this.#inputs) {
      const block = this.#blocks.get(index)
      if (block) block.input = jsonOf(text) ?? {}
    }
    return { ...this.#message, content: [...this.#blocks.values()] }
  }

  /** @param added what of it is new */
  #keep(added: unknown, message: JsonObject): void {
    this.size += sizeOf(added)
    this.#message = message
  }

  #addDelta(index: unknown, { type, ...delta }: JsonObject): void {
    const block = this.#blocks.get(index)
    if (!block) return
    if (type === 'input_json_delta') {
      this.size += sizeOf(delta.partial_json)
      this.#inputs.set(index, `${this.#inputs.get(index) ?? ''}${delta.partial_json}`)
      return
    }
    if (type === 'citations_delta') {
      const { citations } = block
      this.size += entrySize + sizeOf(delta.citation)
      if (Array.isArray(citations)) citations.push(delta.citation)
      else block.citations = [delta.citation]
      return
    }
    for (const [field, value] of Object.entries(delta)) {
      const before = Object.hasOwn(block, field) ? block[field] : undefined
      this.size += sizeOf(value) + (before === undefined ? entrySize : 0)
      setOwn(block, field, typeof before === 'string' && typeof value === 'string' ? before + value : value)
    }
  }
}

/**
 * Streams of Anthropic's `/v1/messages`: every event has a name, and `message_stop` is the last.
 *
 * @see https://docs.anthropic.com/en/docs/build-with-claude/streaming
 * @see https://docs.anthropic.com/en/api/errors
 */
export const anthropic: StreamDialect = {
  name: 'anthropic',
  needsTerminal: true,
  errorBody: (error, message, requestId) => ({
    ...anthropicError(error, message),
    ...(requestId ? { request_id: requestId } : {}),
  }),
  answers: messageAnswerForm,
  follow: () => new MessageStream(),
}

class MessageStream implements DialectState {
  #begun = false
  #stopped = false
  /** A reason to stop has been given: all that is missing is the event that says so. */
  #hasReason = false

  get complete(): boolean {
    return this.#stopped || this.#hasReason
  }

  observe({ data, event }: SSEEvent): EventRole {
    const { type = event, delta } = jsonOf(data) ?? {}
    if (type === 'message_start') this.#begun = true
    if (type === 'error') return 'error'
    if (type === 'message_delta' && Object(delta).stop_reason) this.#hasReason = true
    if (type === 'message_stop') {
      this.#stopped = true
      return 'terminal'
    }
    return type === 'content_block_delta' ? 'content' : 'other'
  }

  closing(): SSEEvent[] {
    return this.#stopped ? [] : [{ event: 'message_stop', data: { type: 'message_stop' } }]
  }

  /** The API's own. */
  emptyDelta(): SSEEvent | undefined {
    return this.#begun && !this.#stopped ? { event: 'ping', data: { type: 'ping' } } : undefined
  }

  /** Without the name of the event, Anthropic's SDK does not see it. */
  failing(error: StreamError, message: string): SSEEvent[] {
    return [{ event: 'error', data: anthropicError(error, message) }]
  }
}

const typeByStatus: Record<number, string> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  503: 'overloaded_error',
  504: 'timeout_error',
  529: 'overloaded_error',
}

function anthropicError({ status }: StreamError, message: string) {
  const fallback = status < 500 ? 'invalid_request_error' : 'api_error'
  return { type: 'error', error: { type: typeByStatus[status] ?? fallback, message } }
}
