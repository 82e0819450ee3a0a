/**
 * A good answer in the shape of one API, in parts that an upstream may fail between.
 *
 * @example
 * const gemini: UpstreamAnswer = answers.gemini
 * await using upstream = await startUpstream((exchange) => exchange.open(gemini.headers).chunk(gemini.begun).reset())
 */
export interface UpstreamAnswer {
  /** The path of a request for it. */
  readonly path: string
  /** The header of its type, as the upstream's `open(headers)` takes it. */
  readonly headers: string
  /** The bytes up to and with `Hel`. */
  readonly begun: string
  /** Returns the bytes of one more piece of text. */
  piece(text: string): string
  /** The bytes that end it. */
  readonly end: string
  /** The bytes of an error that the upstream reports itself. */
  readonly error: string
  /** Returns the JSON body of a response with this error status. */
  errorBody(status: number, message: string): string
}

const eventStream = 'Content-Type: text/event-stream'
const data = (...events: unknown[]) =>
  events.map((event) => `data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`).join('')
const named = (...events: { type: string; [more: string]: unknown }[]) =>
  events.map((event) => `event: ${event.type}\n${data(event)}`).join('')
const line = (event: object) => `${JSON.stringify(event)}\n`
const openaiError = (_status: number, message: string) => JSON.stringify({ error: { message } })

const chunk = (content: string, finishReason: string | null = null) => ({
  id: 'chatcmpl-test',
  object: 'chat.completion.chunk',
  created: 1,
  model: 'test-model',
  choices: [{ index: 0, delta: content === '' ? {} : { content }, finish_reason: finishReason }],
})
const delta = (text: string) =>
  named({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } })
const candidate = (text: string, finishReason?: string) => ({
  candidates: [{ content: { parts: [{ text }], role: 'model' }, index: 0, finishReason }],
})
const said = (content: string, more: object = {}) =>
  line({ model: 'test-model', message: { role: 'assistant', content }, done: false, ...more })
const numbered = (sequenceNumber: number, event: { type: string; [more: string]: unknown }) =>
  named({ ...event, sequence_number: sequenceNumber })
const response = {
  id: 'resp_test',
  object: 'response',
  created_at: 1,
  status: 'in_progress',
  model: 'test-model',
  output: [],
}
const part = { type: 'output_text', text: 'Hello', annotations: [] }
const item = { id: 'msg_test', type: 'message', role: 'assistant', status: 'in_progress', content: [part] }
const place = { item_id: 'msg_test', output_index: 0, content_index: 0 }
const textDelta = (text: string) =>
  numbered(3, { type: 'response.output_text.delta', ...place, delta: text, logprobs: [] })

/**
 * A good answer in the shape of OpenAI's chats and responses, of Anthropic's, Gemini's and Ollama's API.
 *
 * @example
 * const { headers, begun, piece, end } = answers.anthropic
 * const whole = begun + piece('lo') + end
 * await using upstream = await startUpstream((exchange) => exchange.open(headers).chunk(whole).end())
 */
export const answers: Readonly<Record<AnswerShape, UpstreamAnswer>> = {
  openai: {
    path: '/v1/chat/completions',
    headers: eventStream,
    begun: data(chunk('Hel')),
    piece: (text: string) => data(chunk(text)),
    end: data(chunk('', 'stop'), '[DONE]'),
    error: data({ error: { message: 'overloaded', code: 503 } }),
    errorBody: openaiError,
  },
  openaiResponses: {
    path: '/v1/responses',
    headers: eventStream,
    begun:
      numbered(0, { type: 'response.created', response }) +
      numbered(1, { type: 'response.output_item.added', output_index: 0, item: { ...item, content: [] } }) +
      numbered(2, { type: 'response.content_part.added', ...place, part: { ...part, text: '' } }) +
      textDelta('Hel'),
    piece: textDelta,
    end: numbered(99, {
      type: 'response.completed',
      response: { ...response, status: 'completed', output: [{ ...item, status: 'completed' }] },
    }),
    error: numbered(3, { type: 'error', code: 'server_is_overloaded', message: 'overloaded', param: null }),
    errorBody: openaiError,
  },
  anthropic: {
    path: '/v1/messages',
    headers: eventStream,
    begun:
      named(
        {
          type: 'message_start',
          message: {
            id: 'msg_test',
            type: 'message',
            role: 'assistant',
            model: 'test-model',
            content: [],
            stop_reason: null,
            stop_sequence: null,
            usage: { input_tokens: 1, output_tokens: 1 },
          },
        },
        { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
      ) + delta('Hel'),
    piece: delta,
    end: named(
      { type: 'content_block_stop', index: 0 },
      {
        type: 'message_delta',
        delta: { stop_reason: 'end_turn', stop_sequence: null },
        usage: { output_tokens: 2 },
      },
      { type: 'message_stop' },
    ),
    error: named({ type: 'error', error: { type: 'overloaded_error', message: 'overloaded' } }),
    errorBody: (status, message) => {
      const type = status === 429 ? 'rate_limit_error' : 'api_error'
      return JSON.stringify({ type: 'error', error: { type, message } })
    },
  },
  gemini: {
    path: '/v1beta/models/test-model:streamGenerateContent?alt=sse',
    headers: eventStream,
    begun: data(candidate('Hel')),
    piece: (text: string) => data(candidate(text)),
    end: data(candidate('', 'STOP')),
    error: data({ error: { code: 503, message: 'overloaded', status: 'UNAVAILABLE' } }),
    errorBody: (code, message) => {
      const status = code === 429 ? 'RESOURCE_EXHAUSTED' : 'INTERNAL'
      return JSON.stringify({ error: { code, message, status } })
    },
  },
  ollama: {
    path: '/api/chat',
    headers: 'Content-Type: application/x-ndjson',
    begun: said('Hel'),
    piece: said,
    end: said('', { done: true, done_reason: 'stop', prompt_eval_count: 1, eval_count: 2 }),
    error: line({ error: 'overloaded' }),
    errorBody: (_status, message) => JSON.stringify({ error: message }),
  },
}

/** The name of one of the {@link answers}. */
export type AnswerShape = 'openai' | 'openaiResponses' | 'anthropic' | 'gemini' | 'ollama'
