import { chatAnswer, chatChunk } from './chat.js'

/** A good answer of an API, event by event, and in pieces that an upstream may fail between. */
export interface DialectAnswer {
  path: string
  /** The events before the first text, and that text. */
  begun: readonly string[]
  /** The rest of a good answer. */
  rest: readonly string[]
}

const named = (event: { type: string; [more: string]: unknown }) =>
  `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`
const unnamed = (event: unknown) => `data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`

const role = {
  ...chatChunk(''),
  choices: [{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null }],
}

const response = {
  id: 'resp_1',
  object: 'response',
  created_at: 1,
  status: 'in_progress',
  model: 'test-model',
  output: [],
  usage: null,
}
const text = { type: 'output_text', text: 'Hello', annotations: [] }
const item = { id: 'msg_1', type: 'message', role: 'assistant', status: 'completed', content: [text] }
const place = { item_id: 'msg_1', output_index: 0, content_index: 0 }
const responseUsage = {
  input_tokens: 1,
  output_tokens: 2,
  total_tokens: 3,
  input_tokens_details: { cached_tokens: 0 },
  output_tokens_details: { reasoning_tokens: 0 },
}

const candidate = (text: string, more: object = {}) => ({
  candidates: [{ content: { parts: [{ text }], role: 'model' }, index: 0, ...more }],
})
const line = (content: string, done = false) =>
  `${JSON.stringify({ model: 'test-model', created_at: '2026-01-01T00:00:00Z', message: { role: 'assistant', content }, done })}\n`
const cohereDelta = (text: string) => ({
  type: 'content-delta',
  index: 0,
  delta: { message: { content: { text } } },
})
const messageDelta = (value: string) =>
  `event: thread.message.delta\ndata: ${JSON.stringify({
    id: 'm',
    object: 'thread.message.delta',
    delta: { content: [{ index: 0, type: 'text', text: { value } }] },
  })}\n\n`

/** The answer "Hello", as each API tells it. */
export const dialectAnswers: Record<string, DialectAnswer> = {
  openaiChat: {
    path: '/v1/chat/completions',
    begun: [role, chatChunk('Hel')].map(unnamed),
    rest: chatAnswer('lo').map(unnamed),
  },
  openaiResponses: {
    path: '/v1/responses',
    begun: [
      { type: 'response.created', sequence_number: 0, response },
      {
        type: 'response.output_item.added',
        sequence_number: 1,
        output_index: 0,
        item: { ...item, status: 'in_progress', content: [] },
      },
      {
        type: 'response.content_part.added',
        sequence_number: 2,
        ...place,
        part: { ...text, text: '' },
      },
      { type: 'response.output_text.delta', sequence_number: 3, ...place, delta: 'Hel', logprobs: [] },
    ].map(named),
    rest: [
      { type: 'response.output_text.delta', sequence_number: 4, ...place, delta: 'lo', logprobs: [] },
      { type: 'response.output_text.done', sequence_number: 5, ...place, text: 'Hello', logprobs: [] },
      { type: 'response.content_part.done', sequence_number: 6, ...place, part: text },
      { type: 'response.output_item.done', sequence_number: 7, output_index: 0, item },
      {
        type: 'response.completed',
        sequence_number: 8,
        response: { ...response, status: 'completed', output: [item], usage: responseUsage },
      },
    ].map(named),
  },
  anthropic: {
    path: '/v1/messages',
    begun: [
      {
        type: 'message_start',
        message: {
          id: 'msg_1',
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
      { type: 'ping' },
      { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Hel' } },
    ].map(named),
    rest: [
      { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'lo' } },
      { type: 'content_block_stop', index: 0 },
      {
        type: 'message_delta',
        delta: { stop_reason: 'end_turn', stop_sequence: null },
        usage: { output_tokens: 2 },
      },
      { type: 'message_stop' },
    ].map(named),
  },
  aiSdkUi: {
    path: '/api/chat',
    begun: [
      { type: 'start', messageId: 'm1' },
      { type: 'text-start', id: 't1' },
      { type: 'text-delta', id: 't1', delta: 'Hel' },
    ].map(unnamed),
    rest: [
      { type: 'text-delta', id: 't1', delta: 'lo' },
      { type: 'text-end', id: 't1' },
      { type: 'finish' },
      '[DONE]',
    ].map(unnamed),
  },
  gemini: {
    path: '/v1beta/models/test-model:streamGenerateContent?alt=sse',
    begun: [unnamed(candidate('Hel'))],
    rest: [unnamed(candidate('lo')), unnamed(candidate('', { finishReason: 'STOP' }))],
  },
  ollama: {
    path: '/api/chat',
    begun: [line('Hel')],
    rest: [line('lo'), line('', true)],
  },
  cohere: {
    path: '/v2/chat',
    begun: [
      { type: 'message-start', id: 'c1', delta: { message: { role: 'assistant' } } },
      { type: 'content-start', index: 0, delta: { message: { content: { type: 'text', text: '' } } } },
      cohereDelta('Hel'),
    ].map(named),
    rest: [
      cohereDelta('lo'),
      { type: 'content-end', index: 0 },
      { type: 'message-end', id: 'c1', delta: { finish_reason: 'COMPLETE', usage: {} } },
    ].map(named),
  },
  mistral: {
    path: '/v1/conversations',
    begun: [
      { type: 'conversation.response.started', conversation_id: 'conv_1' },
      { type: 'message.output.delta', id: 'm', content: 'Hel' },
    ].map(named),
    rest: [
      { type: 'message.output.delta', id: 'm', content: 'lo' },
      {
        type: 'conversation.response.done',
        usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 },
      },
    ].map(named),
  },
  images: {
    path: '/v1/images/generations',
    begun: [named({ type: 'image_generation.partial_image', b64_json: 'Hel', partial_image_index: 0 })],
    rest: [named({ type: 'image_generation.completed', b64_json: 'lo' })],
  },
  transcriptions: {
    path: '/v1/audio/transcriptions',
    begun: [unnamed({ type: 'transcript.text.delta', delta: 'Hel' })],
    rest: [
      unnamed({ type: 'transcript.text.delta', delta: 'lo' }),
      unnamed({ type: 'transcript.text.done', text: 'Hello' }),
    ],
  },
  assistants: {
    path: '/v1/threads/thread_1/runs',
    begun: ['event: thread.run.created\ndata: {"id":"run_1","object":"thread.run"}\n\n', messageDelta('Hel')],
    rest: [
      messageDelta('lo'),
      'event: thread.run.completed\ndata: {"id":"run_1","object":"thread.run"}\n\n',
      'event: done\ndata: [DONE]\n\n',
    ],
  },
  plain: {
    path: '/events',
    begun: [unnamed('Hel')],
    rest: [unnamed('lo'), unnamed('bye')],
  },
}
