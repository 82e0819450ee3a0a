import { describe, expect, test } from 'vitest'
import {
  type CollectedAnswer,
  type DialectName,
  dialects,
  readAnswer,
  type SSEEvent,
  type UpstreamSource,
} from '../../src/index.js'
import { chatAnswer, chatChunk } from '../support/chat.js'
import { startProxy, upstreamClients } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'

const streamOf = (events: readonly unknown[]): UpstreamSource =>
  new Response(
    events.map((event) => `data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`).join(''),
  )

const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)

describe('an answer is bounded, whatever comes', () => {
  test('JSON with more choices than any API gives is not an answer', async () => {
    const choices = (count: number) =>
      JSON.stringify({ choices: Array.from({ length: count }, () => ({ message: { content: 'Hi' } })) })
    await using upstream = await startUpstream((exchange) =>
      exchange.answer('200 OK', choices(upstream.exchanges.length === 1 ? 129 : 128)),
    )
    await using proxy = await startProxy(
      async (stream) => stream.relay(await upstreamClients.http(upstream.url, stream)),
      { dialect: 'openaiChat' },
    )
    using refused = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
    expect(refused.status).toBe(502)
    using taken = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
    expect(taken.data).toHaveLength(128 * 3 + 1)
  })

  test.each([-1, 128, 1.5, 4e9, '0', '__proto__'])('a choice with the index %j is ignored', async (index) => {
    const odd = { ...chatChunk('odd'), choices: [{ index, delta: { content: 'odd' }, finish_reason: null }] }
    const answer = await readAnswer(streamOf([odd, ...chatAnswer('Hi')]), { dialect: 'openaiChat' })
    expect(answer).toMatchObject({ choices: [{ index: 0, message: { content: 'Hi' } }] })
    expect((answer as { choices: unknown[] }).choices).toHaveLength(1)
  })

  test.each([
    ['text', (text: string) => chatChunk(text)],
    ['tool arguments', toolCall],
    [
      'log probabilities',
      (text: string) => ({
        ...chatChunk('x'),
        choices: [{ index: 0, delta: {}, logprobs: { content: [{ text }] } }],
      }),
    ],
  ])('%s: what is collected is held against maxEventBytes', async (_what, chunkOf) => {
    const events = Array.from({ length: 5 }, () => chunkOf('x'.repeat(30_000)))
    const end = [chatChunk('', 'stop'), '[DONE]']
    const options = { dialect: 'openaiChat', maxEventBytes: 100_000 } as const
    await expect(readAnswer(streamOf([...events, ...end]), options)).rejects.toMatchObject({
      code: 'upstream_answer_too_large',
    })
    await readAnswer(streamOf([...events.slice(0, 3), ...end]), options)
  })

  test.each<[DialectName, (text: string) => object]>([
    ['gemini', (text) => ({ candidates: [{ content: { parts: [{ text }] } }] })],
    ['ollama', (response) => ({ response, done: false })],
    ['cohere', (text) => ({ type: 'content-delta', delta: { message: { content: { text } } } })],
  ])('the text of %s, too', async (dialect, eventOf) => {
    const events = Array.from({ length: 5 }, () => eventOf('x'.repeat(30_000)))
    const read = readAnswer(streamOf(events), { dialect, maxEventBytes: 100_000 })
    await expect(read).rejects.toMatchObject({ code: 'upstream_answer_too_large' })
  })

  test('an Anthropic message, too', async () => {
    const delta = (text: string) => ({
      type: 'content_block_delta',
      index: 0,
      delta: { type: 'text_delta', text },
    })
    const events = [
      { type: 'message_start', message: { content: [] } },
      { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
      ...Array.from({ length: 5 }, () => delta('x'.repeat(30_000))),
      { type: 'message_stop' },
    ]
    await expect(
      readAnswer(streamOf(events), { dialect: 'anthropic', maxEventBytes: 100_000 }),
    ).rejects.toMatchObject({ code: 'upstream_answer_too_large' })
  })

  test.each<[string, DialectName, (count: number) => unknown]>([
    ['choices', 'openaiChat', (n) => ({ choices: [{ index: 0, delta: { tool_calls: calls(n) } }] })],
    ['names', 'openaiChat', (n) => ({ choices: [{ index: 0, delta: { [`name${n}`]: 1 } }] })],
    ['blocks', 'anthropic', (n) => ({ type: 'content_block_start', index: n, content_block: {} })],
    ['parts', 'gemini', () => ({ candidates: [{ content: { parts: [{}] } }] })],
    ['citations', 'cohere', () => ({ type: 'citation-start', delta: { message: { citations: {} } } })],
    ['numbers', 'cohere', (n) => ({ type: 'content-start', index: n, delta: { message: { content: {} } } })],
    ['more names', 'ollama', (n) => ({ [`name${n}`]: 1, done: false })],
  ])('what costs memory without saying anything counts as well: %s', async (_what, dialect, eventOf) => {
    const events = Array.from({ length: 5_000 }, (_, n) => eventOf(n))
    const read = readAnswer(streamOf(events), { dialect, maxEventBytes: 100_000 })
    await expect(read).rejects.toMatchObject({ code: 'upstream_answer_too_large' })
  })

  test('events that come while the dialect is unknown count, too', async () => {
    const events = Array.from({ length: 4 }, () => 'x'.repeat(30_000))
    const read = readAnswer(streamOf(events), { maxEventBytes: 100_000 })
    await expect(read).rejects.toMatchObject({ code: 'upstream_answer_too_large' })
  })

  test.each<[DialectName, (count: number) => object]>([
    ['anthropic', (count) => ({ type: 'message', content: Array(count).fill({}) })],
    ['openaiResponses', (count) => ({ object: 'response', output: Array(count).fill({}) })],
    ['openaiChat', (count) => ({ x: 'x'.repeat(count), choices: Array(128).fill({ message: {} }) })],
    ['cohere', (count) => ({ finish_reason: 'COMPLETE', message: { content: Array(count).fill({}) } })],
  ])(
    '%s: of a JSON answer no more events are made than the client takes, nor far more than has come',
    async (name, answer) => {
      const dialect = dialects[name]
      const events = dialect.answers?.toEvents(answer(1_000_000)) as Iterable<SSEEvent>
      const [first] = events
      expect(first).toBeDefined()
      expect(Array.isArray(events)).toBe(false)
      const body = JSON.stringify(answer(30_000))
      await using proxy = await startProxy((stream) => stream.relay(new Response(body)), {
        dialect,
        relay: { maxEventBytes: 100_000 },
      })
      using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
      expect(await proxy.end()).toMatchObject({ reason: { code: 'upstream_answer_too_large' } })
      expect(client.bodyText.length).toBeLessThan(1_000_000)
      expect(client.body.complete).toBe(true)
    },
  )

  test.each([
    ['answer', `{"choices":[{"message":{"content":${nested(100_000)}}}]}`],
    ['error', `{"error":${nested(100_000)}}`],
  ])('JSON that is nested 100,000 times is no %s, and the upstream’s fault', async (_what, body) => {
    await using proxy = await startProxy((stream) => stream.relay(new Response(body)), {
      dialect: 'openaiChat',
    })
    using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
    expect(client.status).toBe(502)
    expect(client.json.error.code).toBe('upstream_protocol_error')
    const event = `{"choices":[{"index":0,"delta":{"x":${nested(100_000)}}}]}`
    const read = readAnswer(streamOf([event, ...chatAnswer('Hi')]), { dialect: 'openaiChat' })
    await expect(read).rejects.toMatchObject({ code: 'upstream_protocol_error' })
  })

  test.each(['__proto__', 'constructor'])('a block of the type %s is passed on as it is', (type) => {
    const block = JSON.parse(`{"type":"${type}","text":"x"}`)
    const events = [...(dialects.anthropic.answers?.toEvents({ type: 'message', content: [block] }) ?? [])]
    expect(events[1]?.data).toMatchObject({ type: 'content_block_start', content_block: block })
    expect(events).toHaveLength(5)
  })

  test('an upstream that counts its choices without end is not remembered for ever', () => {
    const stream = dialects.openaiChat.follow()
    for (const data of chatAnswer('Hi').slice(0, -1)) stream.observe({ data })
    stream.observe({ data: chatChunk('odd', null, 1_000) })
    expect(stream.complete).toBe(true)
  })

  test('an array that grows by an item at a time is collected in linear time: its items stay in one array', () => {
    const collected = dialects.openaiChat.answers?.collect() as CollectedAnswer
    const chunk = (n: number) => ({
      data: { choices: [{ index: 0, delta: {}, logprobs: { content: [{ token: String(n) }] } }] },
    })
    for (let n = 0; n < 20_000; n++) collected.add(chunk(n))
    const { choices } = collected.answer as { choices: { logprobs: { content: unknown[] } }[] }
    expect(choices[0]?.logprobs.content).toHaveLength(20_000)
  })
})

/** Calls that say nothing but their number. */
const calls = (from: number) => Array.from({ length: 10 }, (_, at) => ({ index: 10 * from + at }))

function toolCall(text: string): object {
  const call = { index: 0, id: 'call', type: 'function', function: { name: 'f', arguments: text } }
  return { ...chatChunk(''), choices: [{ index: 0, delta: { tool_calls: [call] }, finish_reason: null }] }
}
