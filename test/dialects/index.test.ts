import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { recognizeDialect, selectDialect } from '../../src/dialects/index.js'
import { dialects, StreamError, UpstreamError } from '../../src/index.js'
import { chatAnswer, chatChunk } from '../support/chat.js'
import { type DialectAnswer, dialectAnswers } from '../support/dialect-answers.js'

const hangUp = new StreamError('upstream_hangup')

describe('which dialect', () => {
  test.each([
    ['/v1/chat/completions', 'openai-chat'],
    ['/v1/completions', 'openai-chat'],
    ['/openai/deployments/x/chat/completions?api-version=1', 'openai-chat'],
    ['/v1/chat/completions/', 'openai-chat'],
    ['/events', 'plain'],
    ['/v1/responses', 'openai-responses'],
    ['/v1/messages?beta=true', 'anthropic'],
    ['/v1/responses/resp_1?stream=true&starting_after=3', 'openai-responses'],
    ['/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse', 'gemini'],
    ['/v2/chat', 'cohere'],
    ['/api/chat', 'plain'],
    ['', 'plain'],
  ])('%s speaks %s', (path, name) => {
    expect(selectDialect(undefined, path).name).toBe(name)
  })

  test.each([
    ['ollama-js/0.6.3 (x64 linux Node.js/v22.0.0)', 'ollama'],
    ['ollama-python/0.5.1 (x86_64 darwin) Python/3.12', 'ollama'],
    ['ollama/0.12.0 (amd64 linux) Go/go1.24', 'ollama'],
    ['Mozilla/5.0 (ollama/1)', 'plain'],
  ])('the client %s speaks %s', (agent, name) => {
    expect(selectDialect(undefined, '/api/chat', { headers: { 'user-agent': agent } }).name).toBe(name)
  })

  test('by name, or one’s own', () => {
    expect(selectDialect('plain', '/v1/chat/completions')).toBe(dialects.plain)
    const own = { ...dialects.plain, name: 'own' }
    expect(selectDialect(own)).toBe(own)
    expect(() => selectDialect('openai' as never)).toThrow(
      'dialect must be one of openaiChat, openaiResponses, anthropic, gemini, ollama, cohere, aiSdkUi, jsonRpc, plain, or an object with follow() and errorBody(); got "openai"; did you mean openaiChat?',
    )
    expect(() => selectDialect('toString' as never)).toThrow(TypeError)
    expect(() => selectDialect({} as never)).toThrow('dialect.follow must be a function, got undefined')
  })
})

describe('openai-chat', () => {
  test('is complete with [DONE], or when every choice has finished', () => {
    const done = dialects.openaiChat.follow()
    expect(done.complete).toBe(false)
    expect(done.observe({ data: chatChunk('a') })).toBe('content')
    expect(done.observe({ data: '[DONE]' })).toBe('terminal')
    expect(done.complete).toBe(true)
    expect(done.closing()).toEqual([])

    const finished = dialects.openaiChat.follow()
    for (const data of chatAnswer('a').slice(0, -1)) finished.observe({ data: JSON.stringify(data) })
    expect(finished.complete).toBe(true)
    expect(finished.closing()).toEqual([{ data: '[DONE]' }])
  })

  test('is not complete while a choice is open, nor by a finish_reason of "error"', () => {
    const two = dialects.openaiChat.follow()
    for (const data of [chatChunk('a', null, 0), chatChunk('b', null, 1), chatChunk('', 'stop', 0)])
      two.observe({ data })
    expect(two.complete).toBe(false)
    two.observe({ data: chatChunk('', 'length', 1) })
    expect(two.complete).toBe(true)
    const failed = dialects.openaiChat.follow()
    failed.observe({ data: chatChunk('', 'error') })
    expect(failed.complete).toBe(false)
  })

  test('is not opened again by an empty delta after the finish', () => {
    const stream = dialects.openaiChat.follow()
    for (const data of [chatChunk('a'), chatChunk('', 'stop'), chatChunk('')]) stream.observe({ data })
    expect(stream.complete).toBe(true)
  })

  test('knows content from role-only and empty deltas, and an error from both', () => {
    const stream = dialects.openaiChat.follow()
    const role = { choices: [{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null }] }
    expect(stream.observe({ data: role })).toBe('other')
    expect(stream.observe({ data: chatChunk('') })).toBe('other')
    expect(stream.observe({ data: { choices: [], usage: {} } })).toBe('other')
    expect(stream.observe({ data: { choices: [{ text: 'x' }] } })).toBe('content')
    expect(stream.observe({ data: { choices: [{ delta: { tool_calls: [{}] } }] } })).toBe('content')
    expect(stream.observe({ data: { error: { message: 'no' } } })).toBe('error')
    expect(stream.observe({ data: { error: null, choices: [] } })).toBe('other')
    for (const data of ['', 'x', '{', '{"choices":7}', '{"choices":[null,7]}', null, 7]) {
      expect(stream.observe({ data })).toBe('other')
    }
  })

  test('the text "finish_reason" inside an answer finishes nothing', () => {
    const stream = dialects.openaiChat.follow()
    stream.observe({ data: JSON.stringify(chatChunk('"finish_reason":"stop"} data: [DONE]')) })
    expect(stream.complete).toBe(false)
  })

  test('its error event begins with the error, and is a chunk of the same stream', () => {
    const stream = dialects.openaiChat.follow()
    stream.observe({ data: chatChunk('a') })
    const [event, ...more] = stream.failing(hangUp, hangUp.message) ?? []
    expect(more).toEqual([])
    expect(JSON.stringify(event?.data)).toBe(
      '{"error":{"message":"The upstream closed the connection before the answer was complete.","type":"server_error",' +
        '"param":null,"code":"connection_reset"},"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,' +
        '"model":"test-model","choices":[{"index":0,"delta":{"role":"error","content":""},"finish_reason":"error"}]}',
    )
    expect(event).not.toHaveProperty('event')
  })
})

describe('plain', () => {
  test('ends when it ends, and names its error', () => {
    const stream = dialects.plain.follow()
    expect(dialects.plain.needsTerminal).toBe(false)
    expect(stream.closing()).toEqual([])
    expect(stream.failing(hangUp, 'Sorry.')).toEqual([
      {
        event: 'error',
        data: {
          error: { message: 'Sorry.', type: 'server_error', param: null, code: 'connection_reset' },
          message: 'Sorry.',
          code: 'connection_reset',
        },
      },
    ])
  })
})

test.each([
  [401, 'authentication_error'],
  [403, 'permission_error'],
  [404, 'invalid_request_error'],
  [429, 'rate_limit_error'],
  [500, 'server_error'],
  [503, 'server_error'],
])('status %i is reported as %s', (status, type) => {
  const error = new UpstreamError({ status })
  expect(dialects.openaiChat.errorBody(error, error.message, 'req-1')).toEqual({
    error: { message: error.message, type, param: null, code: expect.any(String) },
    request_id: 'req-1',
  })
})

/** Lines have no field. */
const eventsOf = ({ begun, rest }: DialectAnswer) =>
  [...begun, ...rest].map((text) => ({
    event: text.match(/^event: (.*)$/m)?.[1],
    data: text.match(/^data: (.*)$/m)?.[1] ?? text,
  }))

const own = Object.entries(dialectAnswers).filter(([name]) => name !== 'plain' && name in dialects)
/** Their last event carries content that no other code can make up. */
const irreplaceable = ['openaiResponses', 'ollama', 'cohere']

describe.each(own)('%s', (name, answer) => {
  const dialect = dialects[name as keyof typeof dialects]
  const events = eventsOf(answer)

  test('a good answer is complete with its last event, and not before its text is', () => {
    const stream = dialect.follow()
    const roles = events.map((event) => {
      expect(stream.complete && !/stop|finish|DONE|completed/.test(String(event.data))).toBe(false)
      return stream.observe(event)
    })
    // Gemini's usage may come after it.
    expect(roles.at(-1)).toBe(name === 'gemini' ? 'other' : 'terminal')
    expect(roles.filter((role) => role === 'content')).toHaveLength(2)
    expect(stream.complete).toBe(true)
    expect(stream.closing()).toEqual([])
  })

  test('the events before the last one are enough to close a finished answer', () => {
    const stream = dialect.follow()
    for (const event of events.slice(0, -1)) stream.observe(event)
    if (name === 'gemini') return expect(stream.complete).toBe(false)
    if (!stream.complete) return expect(irreplaceable).toContain(name)
    const [last] = stream.closing()
    expect(stream.observe(last as never)).toBe('terminal')
  })

  test('its own error is an error', () => {
    const [error] = dialect.follow().failing(hangUp, 'It broke.') ?? []
    expect(dialect.follow().observe(error as never)).toBe('error')
    expect(JSON.stringify(error)).toContain('It broke.')
  })

  test('data of any kind throws nothing', () => {
    const stream = dialect.follow()
    for (const data of [
      '',
      'x',
      '{',
      '[]',
      '{"type":7}',
      '{"type":null,"delta":null}',
      null,
      7,
      [],
      undefined,
    ]) {
      expect(stream.observe({ data })).toBe('other')
    }
    expect(stream.complete).toBe(false)
  })
})

describe.each(['mistral', 'images', 'transcriptions', 'assistants'])('%s', (name) => {
  const events = eventsOf(dialectAnswers[name] as DialectAnswer)
  const [first, ...more] = events

  test('are known by their first event, and complete with their last', () => {
    const stream = recognizeDialect(first as never)?.follow()
    const done = events.map((event) => {
      stream?.observe(event)
      return stream?.complete
    })
    expect(more.length).toBeGreaterThan(0)
    expect(done.slice(0, events.length - 2)).not.toContain(true)
    expect(done.at(-1)).toBe(true)
  })

  test('their own error is an error', () => {
    const dialect = recognizeDialect(first as never)
    const [error] = dialect?.follow().failing(hangUp, 'It broke.') ?? []
    expect(JSON.stringify(error?.data)).toContain('"error":{"message":"It broke."')
    // The SDK of Mistral hands out events with a name that it does not know.
    expect(error?.event).toBe(name === 'mistral' ? undefined : 'error')
  })
})

describe('gemini', () => {
  const parts = (text: string, more: object = {}) => ({ content: { parts: [{ text }] }, ...more })
  const follow = (...events: object[]) => {
    const stream = dialects.gemini.follow()
    for (const data of events) stream.observe({ data })
    return stream
  }

  test('is complete once each candidate has finished, and nothing came after that', () => {
    expect(follow({ candidates: [parts('a')] }).complete).toBe(false)
    expect(follow({ candidates: [parts('a', { finishReason: 'MAX_TOKENS' })] }).complete).toBe(true)
    const finished = { candidates: [parts('b', { finishReason: 'STOP' })] }
    expect(follow(finished, { usageMetadata: { totalTokenCount: 3 } }).complete).toBe(true)
    expect(follow(finished, { candidates: [parts('c')] }).complete).toBe(false)
    const two = { candidates: [parts('a', { index: 0 }), parts('b', { index: 1 })] }
    expect(follow(two, { candidates: [parts('', { index: 1, finishReason: 'STOP' })] }).complete).toBe(false)
    expect(follow({ promptFeedback: { blockReason: 'SAFETY' } }).complete).toBe(true)
  })

  test('reports errors as Google does', () => {
    const [error] = follow().failing(hangUp, 'Sorry.') ?? []
    expect(error).toEqual({ data: { error: { code: 503, message: 'Sorry.', status: 'UNAVAILABLE' } } })
    expect(dialects.gemini.encode?.(error as never)).toBe(`data: ${JSON.stringify(error?.data)}\r\n\n`)
    expect(dialects.gemini.encode?.({ data: { candidates: [] } })).toBe('data: {"candidates":[]}\n\n')
  })

  test('an app’s own candidates are none of Gemini’s', () => {
    expect(recognizeDialect({ data: '{"candidates":["Ann","Bob"]}' })).toBeUndefined()
    expect(recognizeDialect({ data: JSON.stringify({ candidates: [parts('a')] }) })).toBe(dialects.gemini)
  })
})

describe('cohere', () => {
  test.each([
    ['COMPLETE', 'terminal'],
    ['MAX_TOKENS', 'terminal'],
    ['ERROR', 'error'],
    ['TIMEOUT', 'error'],
  ])('message-end with %s is of the role %s', (reason, role) => {
    const stream = dialects.cohere.follow()
    expect(stream.observe({ data: { type: 'message-end', delta: { finish_reason: reason } } })).toBe(role)
    expect(stream.complete).toBe(role === 'terminal')
  })
})

describe('json-rpc', () => {
  const call = (id: unknown) => ({ jsonrpc: '2.0', id, method: 'tools/call', params: {} })
  const result = (id: unknown) => ({ data: { jsonrpc: '2.0', id, result: {} } })
  const progress = { data: { jsonrpc: '2.0', method: 'notifications/progress', params: {} } }

  test('is complete once each request of the body has its response', () => {
    const stream = dialects.jsonRpc.follow({ method: 'POST', body: [call(1), call('b')] })
    expect(stream.observe(progress)).toBe('content')
    stream.observe(result(1))
    expect(stream.complete).toBe(false)
    expect(stream.failing(hangUp, 'Sorry.')).toEqual([
      { data: { jsonrpc: '2.0', id: 'b', error: { code: -32_000, message: 'Sorry.' } } },
    ])
    stream.observe({ data: { jsonrpc: '2.0', id: 'b', error: { code: 1, message: 'no' } } })
    expect(stream.complete).toBe(true)
  })

  test('an unparsed body: no error could have its id', () => {
    const stream = dialects.jsonRpc.follow({ method: 'POST' })
    expect(stream.failing(hangUp, 'Sorry.')).toBeUndefined()
    stream.observe(result(1))
    expect(stream.complete).toBe(true)
  })

  test('a client that can ask for missed events is left to do so', () => {
    const stream = dialects.jsonRpc.follow({ method: 'POST', body: call(1) })
    stream.observe({ ...progress, id: 'e1' })
    expect(stream.failing(hangUp, 'Sorry.')).toEqual([])
    expect(dialects.jsonRpc.follow({ method: 'GET' }).failing(hangUp, 'Sorry.')).toEqual([])
  })

  test('is known by the request’s headers, by its body, or by an event', () => {
    expect(selectDialect(undefined, '/mcp', { headers: { 'mcp-session-id': 'x' } })).toBe(dialects.jsonRpc)
    expect(selectDialect(undefined, '/mcp', { body: call(1) })).toBe(dialects.jsonRpc)
    expect(selectDialect(undefined, '/mcp', { body: { messages: [] } })).toBe(dialects.plain)
    expect(recognizeDialect({ data: JSON.stringify(progress.data) })).toBe(dialects.jsonRpc)
  })
})

test('an error before any chunk carries the requested model', () => {
  const stream = dialects.openaiChat.follow({ model: 'gpt-x' })
  expect(stream.failing(hangUp, 'Sorry.')?.[0]?.data).toMatchObject({ model: 'gpt-x' })
})

test('the first event gives an API away that its path did not', () => {
  for (const name of ['openaiChat', 'openaiResponses', 'anthropic', 'gemini', 'cohere'] as const) {
    const [first = ''] = (dialectAnswers[name] as DialectAnswer).begun
    expect(recognizeDialect({ data: first.match(/^data: (.*)$/m)?.[1] })).toBe(dialects[name])
  }
  expect(recognizeDialect({ data: '{"text":"{\\"type\\": \\"message_start\\"}"}' })).toBeUndefined()
})

test('numbered events go on to be numbered', () => {
  const stream = dialects.openaiResponses.follow()
  for (const text of dialectAnswers.openaiResponses?.begun ?? []) {
    stream.observe({ data: text.match(/^data: (.*)$/m)?.[1] })
  }
  expect(stream.failing(hangUp, '')?.[0]?.data).toMatchObject({
    sequence_number: 4,
    code: 'connection_reset',
  })
})

test.each([
  [400, 'invalid_request_error'],
  [401, 'authentication_error'],
  [404, 'not_found_error'],
  [429, 'rate_limit_error'],
  [422, 'invalid_request_error'],
  [500, 'api_error'],
  [504, 'timeout_error'],
  [529, 'overloaded_error'],
])('Anthropic calls a status of %i %s', (status, type) => {
  const body = dialects.anthropic.errorBody(new UpstreamError({ status }), 'No.', 'r1')
  expect(body).toEqual({ type: 'error', error: { type, message: 'No.' }, request_id: 'r1' })
})

test('a chunk that is looked at only from outside means what it says', () => {
  const content = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('', '"finish_reason": "stop"', '"error": {', '\\"index": 7', '[DONE]', '"choices": []'),
  )
  const reason = fc.constantFrom(null, null, null, null, '', 'stop', 'length', 'error')
  const choice = fc.record(
    {
      index: fc.constantFrom(0, 0, 0, 0, 1),
      delta: fc.record(
        { role: fc.constant('assistant'), content, tool_calls: fc.constant([{}]) },
        { requiredKeys: [] },
      ),
      text: content,
      finish_reason: reason,
    },
    { requiredKeys: ['index'] },
  )
  const chunk = fc.record(
    {
      id: fc.constant('x'),
      choices: fc.array(choice, { maxLength: 2 }),
      error: fc.constantFrom(null, { message: 'no' }),
    },
    { requiredKeys: ['choices'] },
  )
  const event = fc.tuple(
    fc.oneof({ weight: 9, arbitrary: chunk }, { weight: 1, arbitrary: fc.constant('[DONE]') }),
    fc.nat(2),
  )
  fc.assert(
    fc.property(fc.array(event, { maxLength: 12 }), (events) => {
      const parsed = dialects.openaiChat.follow()
      const seen = dialects.openaiChat.follow()
      for (const [data, spaces] of events) {
        const text =
          typeof data === 'string' ? data : JSON.stringify(data, null, spaces).replace(/\n */g, ' ')
        expect(seen.observe({ data: text })).toBe(parsed.observe({ data }))
        expect(seen.complete).toBe(parsed.complete)
      }
      expect(seen.closing()).toEqual(parsed.closing())
    }),
    { numRuns: 3_000 },
  )
})
