import { describe, expect, test } from 'vitest'
import { handleStream, wrapApp } from '../../src/index.js'
import {
  type AnswerShape,
  answers,
  assertCleanEnding,
  type FaultName,
  faults,
  faultsOf,
  rawRequest,
  startUpstream,
} from '../../src/testing/index.js'
import { answerNaively } from '../support/mounts.js'
import { listen, upstreamClients } from '../support/proxy.js'

const timeouts = { firstByteMs: 300, inactivityMs: 300, totalMs: 900, clientStallMs: 300 }
const names = Object.keys(faults) as FaultName[]
/** A deadline ends these, and the process is idle until then: several can wait side by side. */
const waiting: FaultName[] = [
  'silent',
  'slowHead',
  'headOnly',
  'stalled',
  'onlyComments',
  'pings',
  'drip',
  'slowError',
]
/** Nothing is lost in these. */
const whole: FaultName[] = ['good', 'splitUtf8', 'resetAfterEnd', 'keepsOpen', 'staleConnection']
const busy = names.filter((name) => !waiting.includes(name))

const proxies: Record<string, (url: string) => Parameters<typeof listen>[0]> = {
  'relay, passed through': (url) => (_request, response) => {
    void handleStream(response, (stream) => stream.relay(upstreamClients.http(url, stream)), { timeouts })
  },
  'relay, translated': (url) => (_request, response) => {
    void handleStream(
      response,
      (stream) => stream.relay(upstreamClients.http(url, stream), (event) => event),
      {
        timeouts,
      },
    )
  },
  'relay with fetch': (url) => (_request, response) => {
    void handleStream(response, (stream) => stream.relay(upstreamClients.fetch(url, stream)), { timeouts })
  },
  'a loop over read()': (url) => (_request, response) => {
    const loop = async (stream: Parameters<Parameters<typeof handleStream>[1]>[0]) => {
      for await (const { data } of stream.read(upstreamClients.http(url, stream)))
        await stream.writer.write({ data })
    }
    void handleStream(response, loop, { timeouts })
  },
}

describe.each(Object.entries(proxies))('%s', (_name, proxy) => {
  async function endsCleanly(name: FaultName): Promise<void> {
    await using upstream = await startUpstream(faults[name])
    await using server = await listen(proxy(upstream.url))
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    const error = assertCleanEnding(client)
    expect(error === undefined).toBe(whole.includes(name))
    // Tokens that came before the fault arrive.
    if (['resetMidStream', 'finMidStream', 'truncated', 'stalled'].includes(name)) {
      expect(client.status).toBe(200)
      expect(client.bodyText).toContain('"Hel"')
      expect(client.bodyText).toContain('"lo"')
    }
    if (name === 'splitUtf8') expect(client.bodyText).toContain('é😀')
    if (name === 'rateLimited') expect(client.header('retry-after')).toBe('7')
  }

  test.concurrent.each(waiting)('%s ends cleanly', endsCleanly)
  test.each(busy)('%s ends cleanly', endsCleanly)
})

describe.each(Object.keys(answers).filter((shape) => shape !== 'openai') as AnswerShape[])('%s', (shape) => {
  const { path } = answers[shape]
  const last = {
    openai: '[DONE]',
    openaiResponses: 'response.completed',
    anthropic: 'message_stop',
    gemini: 'STOP',
    ollama: '"done":true',
  }[shape]

  test.each<[FaultName, number]>([
    ['good', 200],
    ['resetMidStream', 200],
    ['truncated', 200],
    ['stalled', 200],
    ['halfEvent', 200],
    ['splitUtf8', 200],
    ['errorEvent', 502],
    ['serverError', 500],
    ['resetBeforeHead', 503],
  ])('%s ends as its clients understand', async (name, status) => {
    await using upstream = await startUpstream(faultsOf(shape)[name])
    await using server = await listen((_request, response) => {
      const dialect = shape === 'ollama' ? shape : undefined
      void handleStream(response, (stream) => stream.relay(upstreamClients.http(upstream.url, stream)), {
        timeouts,
        dialect,
      })
    })
    using client = await rawRequest({ port: server.port, path, body: {} }).finished()
    const failure = assertCleanEnding(client, shape)
    expect(status === 502 ? client.status >= 500 : client.status === status).toBe(true)
    const isGood = name === 'good' || name === 'splitUtf8'
    expect(client.bodyText.includes(last)).toBe(isGood)
    expect(failure === undefined).toBe(isGood)
    if (status === 200) expect(client.bodyText).toContain('"Hel"')
  })
})

test.each([
  ['openai', '{"error":{"message":"slow down"}}'],
  ['openaiResponses', '{"error":{"message":"slow down"}}'],
  ['anthropic', '{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}'],
  ['gemini', '{"error":{"code":429,"message":"slow down","status":"RESOURCE_EXHAUSTED"}}'],
  ['ollama', '{"error":"slow down"}'],
] as const)('an error status of %s has the body of that API', async (shape, body) => {
  await using upstream = await startUpstream(faultsOf(shape).rateLimited)
  const response = await fetch(upstream.url, { method: 'POST', body: '{}' })
  expect(response.status).toBe(429)
  expect(await response.text()).toBe(body)
})

test('faultsOf refuses a shape that there is not', () => {
  expect(() => faultsOf('openAI' as never)).toThrow(
    'faultsOf(shape) takes one of openai, openaiResponses, anthropic, gemini, ollama; got "openAI"',
  )
})

describe('the guard around a naive handler', () => {
  // It answers 200 before it looks at what the upstream said: what is no stream then ends as a truncated one. Half
  // an event that has been passed on cannot be taken back.
  const busyHere = busy.filter((name) => name !== 'halfEvent' && name !== 'endlessLine')

  async function endsCleanly(name: FaultName): Promise<void> {
    await using upstream = await startUpstream(faults[name])
    await using server = await listen(
      wrapApp((request, response) => answerNaively({ stream: true }, upstream.url, request, response), {
        timeouts,
        onEnd: () => true,
      }),
    )
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    if (name === 'jsonError') expect(client.bodyText).toBe('{"error":{"message":"overloaded"}}')
    else if (name === 'slowError') expect(client.bodyText).toContain('{"error":')
    else if (name === 'serverError' || name === 'rateLimited') expect(client.bodyText).toContain('"message"')
    else assertCleanEnding(client)
  }

  test.concurrent.each(waiting)('%s ends cleanly', endsCleanly)
  test.each(busyHere)('%s ends cleanly', endsCleanly)
})

describe('assertCleanEnding says what is wrong', () => {
  const event = (json: unknown) => `data: ${JSON.stringify(json)}\n\n`
  const chunk = event({ choices: [] })
  const error = event({ error: { message: 'It broke.', code: 'broken' } })
  const stream = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n'
  const whole = (body: string, head = stream) =>
    `${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  const failed = 'HTTP/1.1 502 Bad Gateway\r\nContent-Type: application/json\r\n'

  async function seen(bytes: string) {
    await using server = await startUpstream((exchange) => exchange.raw(bytes).fin())
    using client = await rawRequest({ port: server.port, body: {} }).finished()
    return client
  }

  test.each([
    ['', 'no response came'],
    [`${stream}Content-Length: 99\r\n\r\n${chunk}`, 'the body was cut'],
    [`${stream}Transfer-Encoding: chunked\r\n\r\n5\r\ndata`, 'the body was cut'],
    [whole('<html>', failed), 'an error status without'],
    [whole('{"error":"text"}', failed), 'an error status without'],
    [whole('{}', 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n'), 'instead of an event stream'],
    [whole(''), 'without an event'],
    [whole(chunk), 'simply ends'],
    [whole(`${chunk}data: [DONE]\n\ndata: {"half`), 'is not whole'],
    [`${stream}Transfer-Encoding: chunked\r\n\r\n2\r\n: \r\n0\r\n`, 'the body was cut'],
    [whole(`${chunk}data: {"half\n\n`), 'not JSON'],
    [whole(`${error}${error}`), '2 error events'],
    [whole(`${error}${chunk}`), 'follows the error event'],
    [whole(`${error}data: [DONE]\n\n`), 'follows the error event'],
    [whole(`data: [DONE]\n\n${chunk}`), '[DONE] is not the last'],
  ])('%j: %s', async (bytes, message) => {
    const client = await seen(bytes)
    expect(() => assertCleanEnding(client)).toThrow(message)
  })

  const lines = 'HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n'
  const message = (data: { type: string; [more: string]: unknown }) => `event: ${data.type}\n${event(data)}`
  const candidate = (index: number, finishReason?: string) => event({ candidates: [{ index, finishReason }] })

  test.each<[AnswerShape, string, string]>([
    ['anthropic', whole(message({ type: 'message_start' })), 'simply ends: no message_stop'],
    [
      'anthropic',
      whole(message({ type: 'message_stop' }) + message({ type: 'ping' })),
      'message_stop is not',
    ],
    [
      'anthropic',
      whole(message({ type: 'message_stop' }) + message({ type: 'error', error: { message: 'late' } })),
      'message_stop is not the last',
    ],
    ['openaiResponses', whole(message({ type: 'response.created' })), 'simply ends: no response.completed'],
    ['gemini', whole(candidate(0)), 'simply ends: no finishReason'],
    ['gemini', whole(candidate(0, 'STOP') + candidate(1)), 'simply ends'],
    ['gemini', whole(candidate(0, 'STOP') + error), 'finishReason is not the last'],
    ['ollama', whole('{"done":true}\n'), 'instead of JSON lines'],
    ['ollama', whole('{"done":false}\n', lines), 'simply ends: no "done": true'],
    ['ollama', whole('{"done":false}\n{"done"', lines), 'is not whole'],
    ['ollama', whole('{"done":false}\nnull\n', lines), 'not JSON'],
    ['ollama', whole('', lines), 'JSON lines without an event'],
    ['ollama', whole('{"error":{"message":"text"}}', failed), 'an error status without {"error"}'],
  ])('%s, %j: %s', async (shape, bytes, what) => {
    const client = await seen(bytes)
    expect(() => assertCleanEnding(client, shape)).toThrow(what)
  })

  test.each<[AnswerShape, string, object | undefined]>([
    ['openaiResponses', whole(message({ type: 'response.completed' })), undefined],
    [
      'openaiResponses',
      whole(message({ type: 'error', message: 'no', code: 'x' })),
      { message: 'no', code: 'x' },
    ],
    ['gemini', whole(candidate(0, 'STOP') + event({ usageMetadata: {} })), undefined],
    ['gemini', whole(event({ error: { message: 'no', status: 'UNAVAILABLE' } })), { code: 'UNAVAILABLE' }],
    ['anthropic', whole(message({ type: 'error', error: { type: 'x', message: 'no' } })), { code: 'x' }],
    ['ollama', whole('{"done":false}\n\n{"done":true}\n', lines), undefined],
    ['ollama', whole('{"done":false}\n{"error":"no"}\n', lines), { status: 200, message: 'no' }],
    ['ollama', whole('{"error":"no"}', failed), { status: 502, message: 'no' }],
  ])('%s, %j is clean', async (shape, bytes, told) => {
    const failure = assertCleanEnding(await seen(bytes), shape)
    if (told) expect(failure).toMatchObject(told)
    else expect(failure).toBeUndefined()
  })

  test('and refuses a shape that there is not', async () => {
    const client = await seen(whole(error))
    expect(() => assertCleanEnding(client, 'openAI' as never)).toThrow(
      'assertCleanEnding(client, shape) takes one of openai, openaiResponses, anthropic, gemini, ollama; got "openAI"',
    )
  })

  test('and what the client got', async () => {
    expect(assertCleanEnding(await seen(whole(`${chunk}data: [DONE]\n\n`)))).toBeUndefined()
    const told = { message: 'It broke.', code: 'broken' }
    expect(assertCleanEnding(await seen(whole(error)))).toEqual({ status: 200, ...told })
    const body = JSON.stringify({ error: told })
    expect(assertCleanEnding(await seen(whole(body, failed)))).toEqual({ status: 502, ...told })
  })
})

test('a script that fails cuts its connection, and says so at the end', async () => {
  const upstream = await startUpstream(() => {
    throw new Error('my bug')
  })
  using client = await rawRequest({ port: upstream.port, body: {} }).finished()
  expect(client.status).toBe(0)
  expect(client.ending).toBeDefined()
  await expect(upstream[Symbol.asyncDispose]()).rejects.toThrow('my bug')
})
