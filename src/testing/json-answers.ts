import { type AnswerShape, answers, type UpstreamAnswer } from './answers.js'

/** Stands where the text of an answer goes. */
const gap = 'TEXT'
const headers = 'Content-Type: application/json'

/** A JSON answer in parts, so that an upstream may fail in its text. */
function inParts(shape: AnswerShape, answer: object): UpstreamAnswer {
  const [start = '', end = ''] = JSON.stringify(answer).split(gap)
  return {
    path: answers[shape].path,
    headers,
    begun: `${start}Hel`,
    piece: (text) => JSON.stringify(text).slice(1, -1),
    end,
    error: '"error":{"message":"overloaded"}}',
    errorBody: answers[shape].errorBody,
  }
}

/** A good answer of each shape to a request that wants no stream. */
export const jsonAnswers: Readonly<Record<AnswerShape, UpstreamAnswer>> = {
  openai: inParts('openai', {
    id: 'chatcmpl-test',
    object: 'chat.completion',
    created: 1,
    model: 'test-model',
    choices: [{ index: 0, message: { role: 'assistant', content: gap }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 },
  }),
  openaiResponses: inParts('openaiResponses', {
    id: 'resp_test',
    object: 'response',
    created_at: 1,
    status: 'completed',
    model: 'test-model',
    output: [
      {
        id: 'msg_test',
        type: 'message',
        role: 'assistant',
        status: 'completed',
        content: [{ type: 'output_text', text: gap, annotations: [] }],
      },
    ],
  }),
  anthropic: inParts('anthropic', {
    id: 'msg_test',
    type: 'message',
    role: 'assistant',
    model: 'test-model',
    content: [{ type: 'text', text: gap }],
    stop_reason: 'end_turn',
    stop_sequence: null,
    usage: { input_tokens: 1, output_tokens: 2 },
  }),
  gemini: inParts('gemini', {
    candidates: [{ content: { parts: [{ text: gap }], role: 'model' }, index: 0, finishReason: 'STOP' }],
    usageMetadata: { promptTokenCount: 1, candidatesTokenCount: 2, totalTokenCount: 3 },
  }),
  ollama: inParts('ollama', {
    model: 'test-model',
    message: { role: 'assistant', content: gap },
    done: true,
    done_reason: 'stop',
    prompt_eval_count: 1,
    eval_count: 2,
  }),
}
