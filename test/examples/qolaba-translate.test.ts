import fc from 'fast-check'
import { isStreamError } from 'unhang'
import { describe, expect, test } from 'vitest'
import { models } from '../../examples/qolaba/models.js'
import {
  readEvent,
  type StudioChat,
  toOpenAIChunks,
  toOpenAICompletion,
  toQolaba,
} from '../../examples/qolaba/translate.js'

const user = (content: unknown) => ({ role: 'user', content })
const ask = (more: object = {}) => toQolaba({ model: 'gpt-4o', messages: [user('Hi')], ...more })

describe('the request', () => {
  test('as Qolaba takes it', () => {
    const { body } = toQolaba({
      model: 'gpt-4o',
      temperature: 0.3,
      max_tokens: 100,
      messages: [
        { role: 'system', content: 'Be kind.' },
        user('Hi'),
        { role: 'developer', content: [{ type: 'text', text: 'Be brief.' }] },
        { role: 'assistant', content: 'Hello' },
        user([
          { type: 'text', text: 'What is' },
          { type: 'image_url', image_url: { url: 'data:image/png;base64,x', detail: 'low' } },
          { type: 'text', text: 'this?' },
        ]),
      ],
    })
    expect(body).toMatchObject({
      llm: 'OpenAI',
      llm_model: 'gpt-4.1-2025-04-14',
      temperature: 0.3,
      token: 100,
      system_msg: 'Be kind.\n\nBe brief.',
      image_analyze: true,
      enable_tool: false,
      last_user_query: 'What is\nthis?',
      history: [
        { role: 'user', content: { text: 'Hi', image_data: [] } },
        { role: 'assistant', content: { text: 'Hello', image_data: [] } },
        {
          role: 'user',
          content: {
            text: 'What is\nthis?',
            image_data: [{ url: 'data:image/png;base64,x', details: 'low' }],
          },
        },
      ],
    })
  })

  test('every model of the list is known', () => {
    for (const [model, qolaba] of models) expect(ask({ model }).body).toMatchObject(qolaba)
  })

  test('parameters that only steer are named, unless they are neutral', () => {
    expect(
      ask({ top_p: 1, presence_penalty: 0, frequency_penalty: 0, logit_bias: {}, seed: null }).ignored,
    ).toEqual([])
    expect(ask({ top_p: 0.5, seed: 7 }).ignored).toEqual(['top_p', 'seed'])
  })

  test.each<[object, string]>([
    [{ model: 'gpt-99' }, 'The model "gpt-99" is unknown'],
    [{ model: '__proto__' }, 'is unknown'],
    [{ model: 7 }, 'model must be a name, got 7'],
    [{ messages: [] }, 'messages must be a list'],
    [{ messages: 'Hi' }, 'messages must be a list'],
    [{ messages: [{ role: 'system', content: 'x' }] }, 'at least one message of the user'],
    [{ messages: [null] }, 'A message must be an object, got null'],
    [{ messages: [{ role: 'robot', content: 'x' }] }, 'The role "robot" is unknown'],
    [{ messages: [user(7)] }, 'A content must be text or a list, got 7'],
    [{ messages: [user([{ type: 'input_audio' }])] }, 'cannot take content of the type "input_audio"'],
    [{ messages: [user([{ type: 'image_url', image_url: {} }])] }, 'An image_url must hold a url'],
    [{ messages: [user('x'), { role: 'tool', content: 'x' }] }, 'cannot take tool calls'],
    [{ messages: [user('x'), { role: 'assistant', tool_calls: [{}] }] }, 'cannot take tool calls'],
    [{ tools: [{}] }, 'cannot call tools of the client'],
    [{ functions: [{}] }, 'cannot call tools of the client'],
    [{ n: 2 }, 'cannot give 2 choices'],
    [{ stop: ['x'] }, 'cannot end at stop sequences'],
    [{ response_format: { type: 'json_schema' } }, 'cannot promise the response_format "json_schema"'],
    [{ logprobs: true }, 'cannot give logprobs'],
    [{ modalities: ['text', 'audio'] }, 'cannot answer in anything but text'],
    [{ temperature: 'hot' }, 'temperature must be a number, got "hot"'],
  ])('%j is refused with a 400 that says why', (more, message) => {
    expect(() => ask(more)).toThrow(
      expect.objectContaining({ status: 400, expose: true, message: expect.stringContaining(message) }),
    )
  })

  test('tools that must not be called do not stand in the way', () => {
    expect(() => ask({ tools: [{}], tool_choice: 'none' })).not.toThrow()
    expect(() => ask({ tools: [], stop: [], n: 1, response_format: { type: 'text' } })).not.toThrow()
  })

  test('nothing a client sends does worse than a 400', () => {
    const message = fc.record({
      role: fc.constantFrom('user', 'assistant', 'system', 'x'),
      content: fc.anything(),
    })
    const request = fc.record(
      {
        model: fc.constantFrom('gpt-4o', 'x'),
        messages: fc.oneof(fc.anything(), fc.array(fc.oneof(message, fc.anything()))),
        tools: fc.anything(),
        stream_options: fc.anything(),
        response_format: fc.anything(),
        max_tokens: fc.anything(),
      },
      { requiredKeys: ['model'] },
    )
    fc.assert(
      fc.property(fc.oneof(request, fc.anything()), (body) => {
        try {
          toQolaba(body)
        } catch (error) {
          expect(error).toMatchObject({ status: 400 })
        }
      }),
    )
  })
})

describe('the stream', () => {
  /** The chunks made of these events of Qolaba. */
  function translate(chat: Pick<StudioChat, 'model' | 'includeUsage'>, ...events: unknown[]) {
    const map = toOpenAIChunks(chat as StudioChat)
    return events.flatMap((event) => {
      const mapped = map({ data: typeof event === 'string' ? event : JSON.stringify(event) })
      const events = Array.isArray(mapped) ? mapped : [mapped]
      // Some are made as objects, some as text; on the wire they are the same.
      return events.map(({ data }) =>
        typeof data === 'string' && data !== '[DONE]' ? JSON.parse(data) : data,
      )
    })
  }
  const chat = { model: 'gpt-4o', includeUsage: false }

  test('a role chunk, the text, the finish chunk, [DONE]', () => {
    const chunks = translate(
      chat,
      { output: 'Hel' },
      { output: '' },
      { output: 'lo' },
      { output: null, promptTokens: 1, completionTokens: 2 },
    )
    expect(chunks.map((chunk) => chunk.choices?.[0] ?? chunk)).toEqual([
      { index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null },
      { index: 0, delta: { content: 'Hel' }, finish_reason: null },
      { index: 0, delta: { content: 'lo' }, finish_reason: null },
      { index: 0, delta: {}, finish_reason: 'stop' },
      '[DONE]',
    ])
    expect(
      new Set(chunks.slice(0, -1).map(({ id, created, model }) => `${id} ${created} ${model}`)).size,
    ).toBe(1)
    expect(chunks[0]).not.toHaveProperty('usage')
  })

  test('usage, when it was asked for and Qolaba counted', () => {
    const asked = { model: 'gpt-4o', includeUsage: true }
    const chunks = translate(asked, { output: 'x' }, { output: null, promptTokens: 3, completionTokens: 4 })
    expect(chunks.at(-2)).toMatchObject({
      choices: [],
      usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 },
    })
    const uncounted = translate(asked, { output: 'x' }, '[DONE]')
    expect(uncounted.at(-2)).toMatchObject({ choices: [{ finish_reason: 'stop' }] })
  })

  test.each([['[DONE]'], [{ output: null }]])('%j ends it', (end) => {
    expect(translate(chat, { output: 'x' }, end).at(-1)).toBe('[DONE]')
  })

  test.each([[{ error: 'no credit' }], [{ error: { message: 'no' } }], [{ output: 'x', error: 'no' }]])(
    '%j fails it',
    (event) => {
      expect(() => translate(chat, event)).toThrow(expect.objectContaining({ outcome: 'upstream_error' }))
    },
  )

  test.each(['', 'x', '7', 'null', '[]', '{"output":'])('%j is not an event of Qolaba', (data) => {
    expect(() => translate(chat, data)).toThrow(expect.objectContaining({ outcome: 'upstream_protocol' }))
  })

  test('text that is handed on as it was written is the text that a parser reads', () => {
    const written = fc.oneof(
      fc.string({ unit: 'binary' }).map((output) => JSON.stringify({ output })),
      fc.stringMatching(/^[a-z"\\\n\t{}:,u0-9]{0,12}$/).map((text) => `{"output": "${text}"}`),
    )
    fc.assert(
      fc.property(written, (data) => {
        let parsed: { output?: unknown } | undefined
        try {
          parsed = JSON.parse(data)
        } catch {}
        // The first event is always parsed, the second need not be.
        const read = () => translate(chat, { output: 'x' }, data).slice(2)
        if (!parsed) {
          expect(read).toThrow(expect.objectContaining({ outcome: 'upstream_protocol' }))
          return
        }
        const texts = read().map((chunk) => chunk.choices[0].delta.content)
        expect(texts).toEqual(parsed.output === '' ? [] : [parsed.output])
      }),
      { numRuns: 2_000 },
    )
  })

  test('nothing Qolaba sends gets past as anything but chunks or an error of ours', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
        try {
          readEvent(text)
        } catch (error) {
          expect(isStreamError(error)).toBe(true)
        }
      }),
    )
  })
})

test('the completion', () => {
  const chat = ask()
  expect(toOpenAICompletion(chat, { output: 'Hello', promptTokens: 1, completionTokens: 2 })).toMatchObject({
    object: 'chat.completion',
    model: 'gpt-4o',
    choices: [{ index: 0, message: { role: 'assistant', content: 'Hello' }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 },
  })
  expect(toOpenAICompletion(chat, { output: 'Hello' })).not.toHaveProperty('usage')
})
