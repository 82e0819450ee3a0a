import { Agent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { dialects, type HandleStreamOptions, handleStream, readAnswer } from '../../src/index.js'
import { chatAnswer, chatChunk } from '../support/chat.js'
import { dialectAnswers } from '../support/dialect-answers.js'
import { listen, startProxy, upstreamClients } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { realClients } from '../support/real-clients.js'
import { type Script, startUpstream } from '../support/scripted-upstream.js'

const { http } = upstreamClients
const bytes = (text: string) => Readable.from([Buffer.from(text)])

const call = { id: 'call_1', type: 'function', function: { name: 'f', arguments: '{"a":1}' } }
const completion = {
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 1,
  model: 'test-model',
  choices: [
    { index: 0, message: { role: 'assistant', content: 'Hello' }, finish_reason: 'stop' },
    {
      index: 1,
      message: { role: 'assistant', content: null, tool_calls: [call] },
      finish_reason: 'tool_calls',
    },
  ],
  usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 },
}
const message = {
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  model: 'test-model',
  content: [
    { type: 'thinking', thinking: 'Hm.', signature: 's1' },
    { type: 'text', text: 'Hello' },
    { type: 'tool_use', id: 't1', name: 'f', input: { a: 1 } },
  ],
  stop_reason: 'tool_use',
  stop_sequence: null,
  usage: { input_tokens: 1, output_tokens: 2 },
}
const response = {
  id: 'resp_1',
  object: 'response',
  created_at: 1,
  status: 'completed',
  model: 'test-model',
  output: [
    {
      id: 'msg_1',
      type: 'message',
      role: 'assistant',
      status: 'completed',
      content: [{ type: 'output_text', text: 'Hello', annotations: [] }],
    },
  ],
  usage: null,
}
const text = {
  id: 'cmpl-1',
  object: 'text_completion',
  created: 1,
  model: 'test-model',
  choices: [{ index: 0, text: 'Hello', logprobs: null, finish_reason: 'stop' }],
}

const content = {
  candidates: [
    {
      content: {
        parts: [
          { text: 'Hm.', thought: true, thoughtSignature: 's1' },
          { text: 'Hello' },
          { functionCall: { name: 'f', args: { a: 1 } } },
        ],
        role: 'model',
      },
      finishReason: 'STOP',
      index: 0,
    },
  ],
  usageMetadata: { promptTokenCount: 1, candidatesTokenCount: 2, totalTokenCount: 3 },
  modelVersion: 'test-model',
}
/** The old SDK shows thoughts as if they were said, and the new one warns of calls. */
const withoutThoughts = { candidates: [{ content: { parts: [{ text: 'Hello' }] }, index: 0 }] }
const counted = { done: true, done_reason: 'stop', prompt_eval_count: 1, eval_count: 2 }
const head = { model: 'test-model', created_at: '2026-01-01T00:00:00Z' }
const ollamaCall = { function: { name: 'f', arguments: { a: 1 } } }
const ollamaChat = {
  ...head,
  message: { role: 'assistant', content: 'Hello', thinking: 'Hm.', tool_calls: [ollamaCall] },
  ...counted,
}
const ollamaText = { ...head, response: 'Hello', thinking: 'Hm.', context: [1, 2], ...counted }
const cohereMessage = {
  id: 'c1',
  finish_reason: 'COMPLETE',
  message: {
    role: 'assistant',
    tool_plan: 'I will call f.',
    content: [
      { type: 'thinking', thinking: 'Hm.' },
      { type: 'text', text: 'Hello' },
    ],
    tool_calls: [call],
    citations: [{ start: 0, end: 2, text: 'He', sources: [{ type: 'tool', id: 'call_1' }] }],
  },
  usage: { tokens: { input_tokens: 1, output_tokens: 2 } },
}

const forms = [
  ['openaiChat', completion],
  ['openaiChat', text],
  ['openaiResponses', response],
  ['anthropic', message],
  ['gemini', content],
  ['ollama', ollamaChat],
  ['ollama', ollamaText],
  ['cohere', cohereMessage],
] as const

describe.each(forms)('%s', (name, answer) => {
  test('there and back: the events of an answer say that answer', () => {
    const { answers, follow } = dialects[name]
    const events = answers?.toEvents(answer) ?? []
    const collected = answers?.collect()
    const stream = follow()
    for (const event of events) {
      stream.observe(event)
      collected?.add(event)
    }
    expect(collected?.answer).toEqual(answer)
    expect(stream.complete).toBe(true)
    expect(stream.closing()).toEqual([])
  })

  test('an empty answer is none', () => {
    const broken = [
      { choices: [null] },
      { type: 'message', content: [null] },
      { object: 'response', output: [null] },
      { candidates: [null] },
      { done: true, message: null },
      { finish_reason: 'COMPLETE', message: { content: [null] } },
    ]
    for (const other of broken) expect(dialects[name].answers?.toEvents(other)).toBeUndefined()
  })

  test('anything but an answer is refused', () => {
    for (const other of [
      {},
      [],
      'x',
      { object: 'list' },
      { choices: [] },
      { type: 'message' },
      { object: 'response' },
      { candidates: [] },
      { done: true },
      { done: false, response: 'Hel' },
      { message: { content: 'Hello' } },
    ]) {
      expect(dialects[name].answers?.toEvents(other)).toBeUndefined()
    }
  })
})

/** The response that a client of a streaming route gets of an upstream that sends JSON. */
async function asked(script: Script, options: HandleStreamOptions = {}) {
  await using upstream = await startUpstream(script)
  await using proxy = await startProxy(
    async (stream) => stream.relay(await http(upstream.url, stream)),
    options,
  )
  using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
  return { client, end: await proxy.end() }
}

describe('a stream was asked for and JSON comes', () => {
  test.each([
    ['openai 6', completion],
    ['openai 6, .stream()', completion],
    ['openai 6, responses', response],
    ['@anthropic-ai/sdk, .stream()', message],
    ['ai 5 with @ai-sdk/openai-compatible', completion],
    ['@google/genai', withoutThoughts],
    ['@google/generative-ai', withoutThoughts],
    ['ollama', ollamaChat],
    ['cohere-ai', cohereMessage],
  ])('a whole answer becomes a stream that %s reads', async (name, answer) => {
    const { dialect, stream } = realClients[name] as (typeof realClients)[string]
    await using upstream = await startUpstream((exchange) =>
      exchange.answer('200 OK', JSON.stringify(answer)),
    )
    await using proxy = await listen((_request, target) => {
      void handleStream(target, (active) => active.relay(http(upstream.url, active)), {
        dialect: dialect as never,
      })
    })
    let said = ''
    await stream(proxy.url, (piece) => {
      said += piece
    })
    expect(said).toBe('Hello')
  })

  test.each([
    ['{"error":{"message":"no such model","type":"not_found_error"}}', 404, 'upstream_error'],
    ['{"error":{"message":"slow down","code":429}}', 429, 'rate_limit_exceeded'],
    ['{"error":"overloaded"}', 502, 'upstream_error'],
    ['[{"error":{"code":429}}]', 429, 'rate_limit_exceeded'],
    ['{"statusCode":401,"message":"Unauthorized"}', 401, 'upstream_error'],
    ['{"error":"Unauthorized","status":401}', 401, 'upstream_error'],
    ['{"code":401,"msg":"no key"}', 401, 'upstream_error'],
    ['{"object":"error","type":"invalid_request_error","code":404}', 404, 'upstream_error'],
    ['{"detail":"Not authenticated"}', 502, 'upstream_protocol_error'],
    ['{"choices":[],"object":"list"}', 502, 'upstream_protocol_error'],
    ['{"cut":', 502, 'upstream_protocol_error'],
  ])('%s has the status %i', async (body, status, code) => {
    for (const type of ['application/json', 'text/event-stream']) {
      const { client } = await asked((exchange) => exchange.answer('200 OK', body, `Content-Type: ${type}`))
      expect(client.status).toBe(status)
      expect(client.json.error.code).toBe(code)
    }
  })

  test('in pieces, after spaces, under any name', async () => {
    const { client, end } = await asked((exchange) => {
      exchange.open('Content-Type: text/plain').chunk('\n ')
      for (const piece of JSON.stringify(completion).match(/.{1,7}/g) ?? []) exchange.chunk(piece)
      exchange.end()
    })
    expect(client.data.at(-1)).toBe('[DONE]')
    expect(end).toMatchObject({ outcome: 'completed', sawTerminal: true })
  })

  test('events under the name of JSON are events', async () => {
    const { client } = await asked((exchange) =>
      exchange
        .open('Content-Type: application/json')
        .data(...chatAnswer('Hi'))
        .end(),
    )
    expect(client.data.at(-1)).toBe('[DONE]')
  })

  test('one that is too long is refused', async () => {
    const { client } = await asked((exchange) => exchange.answer('200 OK', `{"a":"${'x'.repeat(2_000)}"}`), {
      relay: { maxEventBytes: 1_000 },
    })
    expect(client.json.error.code).toBe('upstream_answer_too_large')
  })

  test('with a map, too, an answer in the client’s own format needs no translation', async () => {
    await using proxy = await startProxy((stream) =>
      stream.relay(bytes(JSON.stringify(completion)), (event) => event),
    )
    using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
    expect(client.data.at(-1)).toBe('[DONE]')
    expect(JSON.parse(client.data[1] ?? '').choices[0].delta.content).toBe('Hello')
  })

  test('where the client’s format is unknown, the answer decides: Ollama’s becomes lines', async () => {
    await using upstream = await startUpstream((exchange) =>
      exchange.answer('200 OK', JSON.stringify(ollamaChat)),
    )
    await using proxy = await startProxy(async (stream) => stream.relay(await http(upstream.url, stream)))
    const { port } = proxy
    using client = await rawRequest({ port, path: '/api/chat', body: { stream: true } }).finished()
    expect(client.header('content-type')).toBe('application/x-ndjson')
    const lines = client.bodyText.trimEnd().split('\n')
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { message: { content: 'Hello', thinking: 'Hm.' }, done: false },
      { message: { content: '' }, ...counted },
    ])
    expect(await proxy.end()).toMatchObject({
      outcome: 'completed',
      usage: { inputTokens: 1, outputTokens: 2, source: 'reported' },
    })
  })

  test('where the client’s format is unknown, a map does', async () => {
    await using proxy = await startProxy((stream) =>
      stream.relay(bytes(JSON.stringify(ollamaChat)), ({ data }) => ({
        data: { mine: JSON.parse(data).message.content },
      })),
    )
    using client = await rawRequest({ port: proxy.port, path: '/mine', body: {} }).finished()
    expect(client.data).toEqual(['{"mine":"Hello"}'])
  })

  test('a translated upstream’s is the one event of its stream', async () => {
    await using proxy = await startProxy((stream) =>
      stream.relay(bytes('{"output":"Hi"}'), ({ data }) =>
        chatAnswer(JSON.parse(data).output).map((chunk) => ({ data: chunk })),
      ),
    )
    using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
    expect(client.data).toHaveLength(3)
  })
})

describe('readAnswer: JSON was asked for and a stream comes', () => {
  test.each(['openaiChat', 'openaiResponses', 'anthropic', 'gemini', 'ollama', 'cohere'] as const)(
    '%s',
    async (name) => {
      const { begun, rest } = dialectAnswers[name] as (typeof dialectAnswers)[string]
      const headers = { 'content-type': name === 'ollama' ? 'application/x-ndjson' : 'text/event-stream' }
      const source = { status: 200, headers, data: bytes([...begun, ...rest].join('')) }
      expect(JSON.stringify(await readAnswer(source))).toContain('Hello')
    },
  )

  test('pieces of every kind come together as the APIs themselves put them', async () => {
    const sse = (...events: object[]) =>
      bytes(events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(''))
    const parts = (...given: object[]) => ({ candidates: [{ content: { parts: given, role: 'model' } }] })
    const gemini = sse(
      parts({ text: 'H', thought: true }),
      parts({ text: 'm.', thought: true }),
      parts({ text: 'Hel' }),
      { ...parts({ text: 'lo', thoughtSignature: 's1' }), usageMetadata: { totalTokenCount: 2 } },
      parts({ text: ' you' }, { functionCall: { name: 'f' } }),
      {
        candidates: [{ content: { parts: [{ text: '' }] }, finishReason: 'STOP' }],
        usageMetadata: { totalTokenCount: 3 },
      },
    )
    expect(await readAnswer(gemini)).toEqual({
      candidates: [
        {
          content: {
            parts: [
              { text: 'Hm.', thought: true },
              { text: 'Hello', thoughtSignature: 's1' },
              { text: ' you' },
              { functionCall: { name: 'f' } },
            ],
            role: 'model',
          },
          finishReason: 'STOP',
        },
      ],
      usageMetadata: { totalTokenCount: 3 },
    })

    const called = (index: number, tool_calls: object) => ({ index, delta: { message: { tool_calls } } })
    const cohere = sse(
      {
        type: 'message-start',
        id: 'c1',
        delta: { message: { role: 'assistant', content: [], tool_plan: '' } },
      },
      { type: 'tool-plan-delta', delta: { message: { tool_plan: 'I will' } } },
      { type: 'tool-plan-delta', delta: { message: { tool_plan: ' call f.' } } },
      {
        type: 'tool-call-start',
        ...called(0, { id: 'a', type: 'function', function: { name: 'f', arguments: '' } }),
      },
      { type: 'tool-call-delta', ...called(0, { function: { arguments: '{"a":' } }) },
      { type: 'tool-call-delta', ...called(0, { function: { arguments: '1}' } }) },
      { type: 'tool-call-end', index: 0 },
      { type: 'message-end', delta: { finish_reason: 'TOOL_CALL', usage: { tokens: { output_tokens: 2 } } } },
    )
    expect(await readAnswer(cohere)).toEqual({
      id: 'c1',
      message: {
        role: 'assistant',
        tool_plan: 'I will call f.',
        tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{"a":1}' } }],
      },
      finish_reason: 'TOOL_CALL',
      usage: { tokens: { output_tokens: 2 } },
    })
  })

  test('totals that each event repeats do not count as growth', async () => {
    const usage = { totalTokenCount: 3, details: 'x'.repeat(500) }
    const event = { candidates: [{ content: { parts: [{ text: 'a' }] } }], usageMetadata: usage }
    const last = { candidates: [{ finishReason: 'STOP' }] }
    const stream = [...Array.from({ length: 50 }, () => event), last]
      .map((each) => `data: ${JSON.stringify(each)}\n\n`)
      .join('')
    expect(await readAnswer(bytes(stream), { maxEventBytes: 2_000 })).toMatchObject({
      candidates: [{ content: { parts: [{ text: 'a'.repeat(50) }] } }],
    })
  })

  test('the calls of tools are put together by their number', async () => {
    const delta = (tool_calls: object[]) => ({
      ...chatChunk(''),
      choices: [{ index: 0, delta: { tool_calls } }],
    })
    const chunks = [
      delta([{ index: 0, id: 'a', type: 'function', function: { name: 'f', arguments: '' } }]),
      delta([{ index: 1, id: 'b', type: 'function', function: { name: 'g', arguments: '' } }]),
      delta([{ index: 0, function: { arguments: '{"x"' } }]),
      delta([{ index: 1, function: { arguments: '{}' } }]),
      delta([{ index: 0, function: { arguments: ':1}' } }]),
      chatChunk('', 'tool_calls'),
    ]
    const stream = chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join('')
    const answer = (await readAnswer(bytes(`${stream}data: [DONE]\n\n`))) as typeof completion
    expect(answer.choices[0]?.message.tool_calls).toEqual([
      { id: 'a', type: 'function', function: { name: 'f', arguments: '{"x":1}' } },
      { id: 'b', type: 'function', function: { name: 'g', arguments: '{}' } },
    ])
  })

  test('the calls may be counted from 1, the first event may say nothing, and log probabilities add up', async () => {
    const filter = { id: '', object: '', created: 0, model: '', choices: [], prompt_filter_results: [] }
    const token = (content: string, more: object) => ({
      ...chatChunk(content),
      choices: [
        {
          index: 0,
          delta: { content, ...more },
          logprobs: { content: [{ token: content }] },
          finish_reason: null,
        },
      ],
    })
    const call = (part: object) => ({ tool_calls: [{ index: 1, ...part }, null] })
    const chunks = [
      filter,
      token('Hel', call({ id: 'a', type: 'function', function: { name: 'f', arguments: '{' } })),
      token('lo', call({ function: { arguments: '}' } })),
      { ...chatChunk(''), choices: [{ index: 0, delta: {}, logprobs: null, finish_reason: 'stop' }, null] },
    ]
    const stream = chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join('')
    expect(await readAnswer(bytes(`${stream}data: [DONE]\n\n`))).toMatchObject({
      id: 'chatcmpl-1',
      model: 'test-model',
      choices: [
        {
          logprobs: { content: [{ token: 'Hel' }, { token: 'lo' }] },
          message: { content: 'Hello', tool_calls: [{ id: 'a', function: { name: 'f', arguments: '{}' } }] },
        },
      ],
    })
  })

  test('an abort afterwards, as a clock does that is disposed of, ends no process', async () => {
    await using upstream = await startUpstream((exchange) =>
      exchange
        .open()
        .data(...chatAnswer('Hi'))
        .end(),
    )
    for (const keepAlive of [true, false]) {
      for (let calls = 0; calls < 5; calls++) {
        const agent = new Agent({ keepAlive, timeout: 5_000 })
        const controller = new AbortController()
        const source = await new Promise<IncomingMessage>((resolve, reject) => {
          const { signal } = controller
          httpRequest(upstream.url, { agent, signal, method: 'POST' }, resolve).on('error', reject).end()
        })
        expect(await readAnswer(source, { signal: controller.signal })).toMatchObject({ choices: [{}] })
        controller.abort(new Error('over'))
        await new Promise((resolve) => setTimeout(resolve, 10))
        agent.destroy()
      }
    }
  })

  test('its connection is kept when the upstream ends by itself', async () => {
    await using upstream = await startUpstream((exchange) => {
      exchange.open().data(...chatAnswer('Hi'))
      setTimeout(() => exchange.end(), 20)
    })
    const agent = new Agent({ keepAlive: true, timeout: 5_000 })
    for (let calls = 0; calls < 4; calls++) {
      const source = await new Promise<IncomingMessage>((resolve) => {
        httpRequest(upstream.url, { agent, method: 'POST' }, resolve).end()
      })
      expect(await readAnswer(source)).toMatchObject({ choices: [{ message: { content: 'Hi' } }] })
      await new Promise((resolve) => setTimeout(resolve, 60))
    }
    expect(upstream.connections).toBe(1)
    agent.destroy()
  })

  test('an index of a block is not a size, and anything but a number is ignored', async () => {
    const events = [
      { type: 'message_start', message: { ...message, content: [] } },
      { type: 'content_block_start', index: 4e9, content_block: { type: 'text', text: '' } },
      { type: 'content_block_start', index: '__proto__', content_block: { type: 'text', text: '' } },
      { type: 'content_block_delta', index: 4e9, delta: { type: 'text_delta', text: 'Hi' } },
      { type: 'message_stop' },
    ]
    const stream = events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join('')
    expect(await readAnswer(bytes(stream))).toMatchObject({ content: [{ text: 'Hi' }] })
  })

  test('JSON is read as it is', async () => {
    expect(await readAnswer(bytes('{"a":1}'))).toEqual({ a: 1 })
  })

  test.each([
    ['a stream that stops short', `data: ${JSON.stringify(chatChunk('Hi'))}\n\n`, 'upstream_truncated'],
    ['one that reports an error', 'data: {"error":"no"}\n\n', 'upstream_error'],
    ['a JSON error', '{"error":{"message":"no"}}', 'upstream_error'],
    ['nothing', '', 'upstream_truncated'],
    ['a stream of an unknown kind', 'data: x\n\n', 'upstream_protocol_error'],
  ])('%s is an error', async (_what, body, code) => {
    await expect(
      readAnswer(bytes(body), body.includes('error') ? { dialect: 'openaiChat' } : {}),
    ).rejects.toMatchObject({
      code,
    })
  })

  test('names that reach for the prototype change nothing', async () => {
    const chunk =
      '{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"__proto__":{"bad":1},"content":"x"}}]}'
    const answer = await readAnswer(bytes(`data: ${chunk}\n\ndata: [DONE]\n\n`))
    expect(({} as { bad?: number }).bad).toBeUndefined()
    // They are data like any other.
    expect(JSON.stringify(answer)).toContain('"__proto__":{"bad":1}')
  })

  test('names that reach for the prototype are data, in an Anthropic message too', async () => {
    const events = [
      { type: 'message_start', message: { ...message, content: [] } },
      { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
      '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi","__proto__":{"bad":1}}}',
      '{"type":"message_delta","delta":{"stop_reason":"end_turn","__proto__":{"worse":1}},"usage":{}}',
      { type: 'message_stop' },
    ]
    const stream = events
      .map((event) => `data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`)
      .join('')
    const answer = await readAnswer(bytes(stream), { dialect: 'anthropic' })
    expect(JSON.stringify(answer)).toContain('"__proto__":{"bad":1}')
    expect(JSON.stringify(answer)).toContain('"__proto__":{"worse":1}')
    expect(answer).toMatchObject({ content: [{ text: 'Hi' }], stop_reason: 'end_turn' })
  })
})
