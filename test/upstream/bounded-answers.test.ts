import { describe, expect, test } from 'vitest'
import { type CollectedAnswer, dialects, readAnswer, type UpstreamSource } from '../../src/index.js'
import { chatAnswer, chatChunk } from '../support/chat.js'
import { startProxy, upstreamClients } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'

const streamOf = (events: readonly unknown[]): UpstreamSource =>
  new Response(
    events.map((event) => `data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`).join(''),
  )

describe('an answer is bounded, whatever comes', () => {
  test('JSON with more choices than any API gives is no answer', async () => {
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

function toolCall(text: string): object {
  const call = { index: 0, id: 'call', type: 'function', function: { name: 'f', arguments: text } }
  return { ...chatChunk(''), choices: [{ index: 0, delta: { tool_calls: [call] }, finish_reason: null }] }
}
