import type { SSEEvent } from '../framing/sse/encode.js'
import type { AnswerForm, CollectedAnswer } from './dialect.js'
import { jsonOf } from './event-json.js'

interface Block {
  type?: unknown
  [more: string]: unknown
}

interface Message {
  type: unknown
  content: Block[]
  usage: object
  stop_reason: unknown
  stop_sequence: unknown
}

interface MessageEvent {
  type: unknown
  index: number
  message: Message
  content_block: Block
  delta: Block
  usage: object
}

/** What each kind of block says piece by piece: the name of its delta and where the delta goes. */
const pieces: Record<string, { delta: string; field: string }> = {
  text: { delta: 'text_delta', field: 'text' },
  thinking: { delta: 'thinking_delta', field: 'thinking' },
}

/**
 * A message of Anthropic's API and the events that say the same.
 *
 * @see https://docs.anthropic.com/en/docs/build-with-claude/streaming
 */
export const messageAnswerForm: AnswerForm = {
  toEvents(answer) {
    const message = jsonOf<Message>(answer)
    if (message?.type !== 'message' || !Array.isArray(message.content)) return undefined
    if (!message.content.every((block) => typeof block === 'object' && block !== null)) return undefined
    const { content, stop_reason, stop_sequence = null, usage } = message
    const start = { ...message, content: [], stop_reason: null, stop_sequence: null }
    return [
      { type: 'message_start', message: start },
      ...content.flatMap(blockEvents),
      { type: 'message_delta', delta: { stop_reason: stop_reason ?? 'end_turn', stop_sequence }, usage },
      { type: 'message_stop' },
    ].map((data) => ({ event: data.type, data }))
  },
  collect: () => new CollectedMessage(),
}

function blockEvents(block: Block, index: number): { type: string }[] {
  const events = (empty: Block, ...deltas: Block[]) => [
    { type: 'content_block_start', index, content_block: empty },
    ...deltas.map((delta) => ({ type: 'content_block_delta', index, delta })),
    { type: 'content_block_stop', index },
  ]
  if (block.type === 'tool_use') {
    const partial = JSON.stringify(block.input ?? {})
    return events({ ...block, input: {} }, { type: 'input_json_delta', partial_json: partial })
  }
  const piece = pieces[String(block.type)]
  if (!piece) return events(block)
  const { signature, ...rest } = block
  const signed = signature ? [{ type: 'signature_delta', signature }] : []
  const said = { type: piece.delta, [piece.field]: block[piece.field] }
  return events({ ...rest, [piece.field]: '' }, said, ...signed)
}

class CollectedMessage implements CollectedAnswer {
  #message: Partial<Message> = {}
  readonly #blocks = new Map<number, Block>()
  readonly #inputs = new Map<number, string>()

  add({ data }: SSEEvent): void {
    const event = jsonOf<MessageEvent>(data)
    if (!event) return
    const { type, index = 0, message, content_block: block, delta, usage } = event
    if (type === 'message_start') this.#message = { ...message }
    else if (type === 'content_block_start' && block) this.#blocks.set(Number(index), { ...block })
    else if (type === 'content_block_delta' && delta) this.#addDelta(index, delta)
    else if (type === 'message_delta') {
      Object.assign(this.#message, delta, { usage: { ...this.#message.usage, ...usage } })
    }
  }

  get answer(): unknown {
    for (const [index, text] of this.#inputs) {
      const block = this.#blocks.get(index)
      if (block) block.input = jsonOf(text) ?? {}
    }
    return { ...this.#message, content: [...this.#blocks.values()] }
  }

  #addDelta(index: number, { type, ...delta }: Block): void {
    if (type === 'input_json_delta') {
      this.#inputs.set(index, `${this.#inputs.get(index) ?? ''}${delta.partial_json}`)
      return
    }
    const block = this.#blocks.get(index)
    if (!block) return
    if (type === 'citations_delta') {
      const { citations } = block
      block.citations = [...(Array.isArray(citations) ? citations : []), delta.citation]
      return
    }
    for (const [field, value] of Object.entries(delta)) {
      const before = block[field]
      block[field] = typeof before === 'string' && typeof value === 'string' ? before + value : value
    }
  }
}
