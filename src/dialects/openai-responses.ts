import type { StreamError } from '../errors/stream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import {
  type AnswerForm,
  type CollectedAnswer,
  type DialectState,
  EndedByEvent,
  type EventRole,
  isObject,
  type JsonObject,
  jsonOf,
  objectsIn,
  type StreamDialect,
} from './dialect.js'
import { openaiError, openaiErrorBody } from './plain.js'

/** In this API an event is called what its `type` says. */
type NamedEvent = JsonObject & { type: string }

/**
 * A response of `/responses` and the events that say the same.
 *
 * @see https://platform.openai.com/docs/api-reference/responses-streaming
 */
const responseAnswerForm: AnswerForm = {
  toEvents(answer) {
    const response = jsonOf(answer)
    if (response?.object !== 'response') return undefined
    const { output } = response
    const isList = Array.isArray(output) && output.every(isObject)
    return isList ? numbered(responseEvents(response, output)) : undefined
  },
  collect: () => new CollectedResponse(),
}

function* numbered(events: Iterable<NamedEvent>): Generator<SSEEvent> {
  let number = 0
  for (const event of events) yield { event: event.type, data: { ...event, sequence_number: number++ } }
}

function* responseEvents(response: JsonObject, output: JsonObject[]): Generator<NamedEvent> {
  const begun = { ...response, status: 'in_progress', output: [] }
  const isOther = response.status === 'incomplete' || response.status === 'failed'
  yield { type: 'response.created', response: begun }
  for (const [index, item] of output.entries()) yield* itemEvents(item, index)
  yield { type: `response.${isOther ? response.status : 'completed'}`, response }
}

function* itemEvents(item: JsonObject, outputIndex: number): Generator<NamedEvent> {
  const place = { output_index: outputIndex }
  const parts = item.type === 'message' && Array.isArray(item.content) ? objectsIn(item.content) : undefined
  const begun = parts ? { ...item, status: 'in_progress', content: [] } : item
  yield { type: 'response.output_item.added', ...place, item: begun }
  for (const [index, part] of (parts ?? []).entries())
    yield* partEvents(part, { ...place, item_id: item.id, content_index: index })
  yield { type: 'response.output_item.done', ...place, item }
}

function* partEvents(part: JsonObject, place: object): Generator<NamedEvent> {
  if (part.type !== 'output_text') return
  const { text } = part
  yield { type: 'response.content_part.added', ...place, part: { ...part, text: '' } }
  yield { type: 'response.output_text.delta', ...place, delta: text, logprobs: [] }
  yield { type: 'response.output_text.done', ...place, text, logprobs: [] }
  yield { type: 'response.content_part.done', ...place, part }
}

/** The last event of a stream carries the whole response. */
class CollectedResponse implements CollectedAnswer {
  answer: unknown

  add({ data }: SSEEvent): void {
    const { response } = jsonOf(data) ?? {}
    this.answer = response ?? this.answer
  }
}

/**
 * Streams of `/responses`: numbered events, the last of which carries the whole response.
 *
 * @see https://platform.openai.com/docs/api-reference/responses-streaming
 */
export const openaiResponses: StreamDialect = {
  name: 'openai-responses',
  needsTerminal: true,
  errorBody: openaiErrorBody,
  answers: responseAnswerForm,
  follow: () => new ResponseStream(),
}

const failed = /^(error|response\.(failed|cancelled))$/
const terminal = /^response\.(completed|incomplete)$/

class ResponseStream extends EndedByEvent implements DialectState {
  cutShort = false
  #nextNumber = 0

  observe({ data, event }: SSEEvent): EventRole {
    const { type = event, sequence_number: number } = jsonOf(data) ?? {}
    if (Number.isSafeInteger(number)) this.#nextNumber = Number(number) + 1
    if (failed.test(String(type))) return 'error'
    if (terminal.test(String(type))) {
      this.complete = true
      this.cutShort = type === 'response.incomplete'
      return 'terminal'
    }
    return String(type).endsWith('.delta') ? 'content' : 'other'
  }

  /** Documented is the flat form; the SDKs raise for `error` alone. */
  failing(error: StreamError, message: string): SSEEvent[] {
    const flat = { sequence_number: this.#nextNumber, code: error.code, message, param: null }
    return [{ event: 'error', data: { type: 'error', error: openaiError(error, message), ...flat } }]
  }
}
