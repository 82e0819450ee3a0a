import fc from 'fast-check'
import { dialects, type SSEEvent, type StreamDialect } from '../../src/index.js'

const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('', 'Hi', '"', '\\', '","finish_reason":"stop', '\u2028', '流式', 'x","error":{"a":"'),
)
const reason = fc.oneof({ weight: 12, arbitrary: fc.constant(null) }, fc.constantFrom('', 'stop', 'error'))

/** Events of a chat, as an upstream may send them. */
export const chatEvent = fc.oneof(
  {
    weight: 12,
    arbitrary: fc
      .record({
        content: text,
        reason,
        index: fc.constantFrom(0, 0, 0, 0, 0, 1),
        id: fc.constantFrom('', 'a', 'b'),
      })
      .map(({ content, reason, index, id }) => ({
        data: JSON.stringify({ id, choices: [{ index, delta: { content }, finish_reason: reason }] }),
      })),
  },
  text.map((arguments_) => ({
    data: JSON.stringify({
      choices: [
        { index: 0, delta: { tool_calls: [{ function: { arguments: arguments_ } }] }, finish_reason: null },
      ],
    }),
  })),
  text.map((message) => ({ data: JSON.stringify({ error: { message }, choices: [] }) })),
  text.map((data) => ({ data: data.replace(/[\r\n\0]/g, ' ') })),
  fc.constantFrom({ data: '[DONE]' }, { data: JSON.stringify({ choices: [], usage: {} }) }),
)

const messageEvent = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.tuple(text, fc.constantFrom('text', 'thinking', 'partial_json')).map(([said, member]) => ({
      type: 'content_block_delta',
      index: 0,
      delta: { type: 'x', [member]: said },
    })),
  },
  text.map((said) => ({ type: 'message_delta', delta: { stop_reason: said || null } })),
  fc.constantFrom({ type: 'message_stop' }, { type: 'ping' }, { type: 'error', error: { message: 'no' } }),
)

const uiEvent = fc.oneof(
  { weight: 8, arbitrary: text.map((delta) => ({ type: 'text-delta', id: '0', delta })) },
  fc.constantFrom({ type: 'finish' }, { type: 'error', errorText: 'no' }, { type: 'start' }),
)

const named = fc
  .oneof(messageEvent, uiEvent)
  .map((json) => ({ event: json.type, data: JSON.stringify(json) }))
/** Events of the dialects that know which of them may be skipped, and of one that does not. */
export const kinds: [string, StreamDialect, fc.Arbitrary<SSEEvent & { data: string }>][] = [
  ['chat', dialects.openaiChat, chatEvent],
  ['messages', dialects.anthropic, named],
  ['UI messages', dialects.aiSdkUi, uiEvent.map((json) => ({ data: JSON.stringify(json) }))],
]
