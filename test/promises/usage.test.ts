import { describe, expect, test } from 'vitest'
import type { EventMap, StreamUsage } from '../../src/index.js'
import { chatChunk } from '../support/chat.js'
import { guarded } from '../support/guarded.js'
import { startProxy, upstreamClients } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'
import { eventStream, wire } from '../support/wire.js'

const sse = 'text/event-stream'
const lines = 'application/x-ndjson'
const named = (...events: { type: string }[]) =>
  events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join('')
const text = (said: string) => ({
  type: 'content_block_delta',
  index: 0,
  delta: { type: 'text_delta', text: said },
})
const started = { type: 'message_start', message: { id: 'm', usage: { input_tokens: 5, output_tokens: 1 } } }
const candidate = (said: string, more: object = {}) => ({
  candidates: [{ content: { parts: [{ text: said }] }, ...(more as { finishReason?: string }) }],
})
const { id, object, created, model } = chatChunk('')

const choicesThatSay = (usage: object) =>
  wire(
    ...[0, 1].map((index) => ({
      ...chatChunk('Hi'),
      choices: [{ index, delta: { content: 'Hi' }, finish_reason: 'stop', usage }],
    })),
    '[DONE]',
  )

/** A whole body, and its usage. */
const answers: [string, string, string, StreamUsage][] = [
  [
    'a chat',
    sse,
    wire(
      chatChunk('Hi'),
      chatChunk('', 'stop'),
      {
        id,
        object,
        created,
        model,
        choices: [],
        usage: { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 },
      },
      '[DONE]',
    ),
    { inputTokens: 5, outputTokens: 7, totalTokens: 12, source: 'reported' },
  ],
  [
    'a chat whose choices say it each',
    sse,
    choicesThatSay({ prompt_tokens: 5, completion_tokens: 3 }),
    { inputTokens: 5, outputTokens: 6, source: 'reported' },
  ],
  [
    'a chat whose choices say a total each',
    sse,
    choicesThatSay({ prompt_tokens: 5, completion_tokens: 3, total_tokens: 8 }),
    { inputTokens: 5, outputTokens: 6, totalTokens: 11, source: 'reported' },
  ],
  [
    'a chat that says nothing: its pieces, also of those that need no look',
    sse,
    wire(chatChunk('a'), chatChunk('b'), chatChunk('c'), chatChunk('', 'stop'), '[DONE]'),
    { outputTokens: 3, source: 'counted' },
  ],
  [
    'a response',
    sse,
    named({ type: 'response.created' }, {
      type: 'response.completed',
      response: { usage: { input_tokens: 5, output_tokens: 7, total_tokens: 12 } },
    } as never),
    { inputTokens: 5, outputTokens: 7, totalTokens: 12, source: 'reported' },
  ],
  [
    'a message',
    sse,
    named(
      started,
      text('Hi'),
      { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 7 } } as never,
      {
        type: 'message_stop',
      },
    ),
    { inputTokens: 5, outputTokens: 7, source: 'reported' },
  ],
  [
    'Gemini',
    sse,
    wire(candidate('Hi'), {
      ...candidate('', { finishReason: 'STOP' }),
      usageMetadata: {
        promptTokenCount: 5,
        candidatesTokenCount: 4,
        thoughtsTokenCount: 3,
        totalTokenCount: 12,
      },
    }),
    { inputTokens: 5, outputTokens: 7, totalTokens: 12, source: 'reported' },
  ],
  [
    'Ollama',
    lines,
    `${JSON.stringify({ message: { content: 'Hi' }, done: false })}\n${JSON.stringify({ done: true, prompt_eval_count: 5, eval_count: 7 })}\n`,
    { inputTokens: 5, outputTokens: 7, source: 'reported' },
  ],
  [
    'Cohere',
    sse,
    named({ type: 'message-start' }, {
      type: 'message-end',
      delta: { finish_reason: 'COMPLETE', usage: { tokens: { input_tokens: 5, output_tokens: 7 } } },
    } as never),
    { inputTokens: 5, outputTokens: 7, source: 'reported' },
  ],
  [
    'events of an app’s own, whatever they call a usage',
    sse,
    wire({ usage: 73 }, { usage: { disk: 3 } }, 'the "usage": {'),
    { outputTokens: 3, source: 'counted' },
  ],
]

describe.each(answers)('%s', (_what, type, body, usage) => {
  test('relayed and guarded: the record has it', async () => {
    await using upstream = await startUpstream((exchange) =>
      exchange.open(`Content-Type: ${type}`).chunk(body).end(),
    )
    await using route = await startProxy((stream) => stream.relay(upstreamClients.http(upstream.url, stream)))
    await using guard = await guarded((_request, response) => {
      response.writeHead(200, { 'content-type': type })
      response.end(body)
    })
    using relayed = await rawRequest({ port: route.port, path: '/any', body: {} }).finished()
    using passed = await rawRequest({ port: guard.port, path: '/any', body: {} }).finished()
    expect((await route.end()).usage).toEqual(usage)
    expect(guard.ends[0]?.usage).toEqual(usage)
    expect([relayed.bodyText, passed.bodyText]).toEqual([body, body])
  })
})

test('an answer that is broken off: what was read is reported, what was written is counted', async () => {
  await using upstream = await startUpstream((exchange) =>
    exchange
      .open()
      .chunk(named(started, text('Hel'), text('lo')))
      .reset(),
  )
  await using route = await startProxy((stream) => stream.relay(upstreamClients.http(upstream.url, stream)))
  using _client = await rawRequest({ port: route.port, path: '/v1/messages', body: {} }).finished()
  expect(await route.end()).toMatchObject({
    outcome: 'upstream_hangup',
    usage: { inputTokens: 5, outputTokens: 2, source: 'counted' },
  })
})

test('usage that a map leaves out of an upstream’s events counts nevertheless', async () => {
  const spoken = JSON.stringify({ done: true, eval_count: 7 })
  await using upstream = await startUpstream((exchange) =>
    exchange.open(`Content-Type: ${lines}`).chunk(`${spoken}\n`).end(),
  )
  const map: EventMap = () => ({ data: '[DONE]' })
  await using route = await startProxy((stream) =>
    stream.relay(upstreamClients.http(upstream.url, stream), map),
  )
  using _client = await rawRequest({ port: route.port, body: {} }).finished()
  expect((await route.end()).usage).toEqual({ outputTokens: 7, source: 'reported' })
})

test('events of a route’s own are looked at as well, but only for the usage of a known API', async () => {
  await using route = await startProxy(async ({ writer }) => {
    await writer.write({ data: { total_tokens: 9, tokens: { output_tokens: 9 } } })
    await writer.write({ data: { promptTokens: 5, completionTokens: 7 } })
  })
  using _client = await rawRequest({ port: route.port, path: '/own', body: {} }).finished()
  expect((await route.end()).usage).toEqual({ inputTokens: 5, outputTokens: 7, source: 'reported' })
})

test('a route that writes itself is counted, one that responds in another way is not', async () => {
  await using route = await startProxy(async ({ writer }, request, response) => {
    if (request.url === '/json') return void response.end('{}')
    await writer.write({ data: chatChunk('Hi') })
  })
  using _written = await rawRequest({ port: route.port, body: {} }).finished()
  expect((await route.end(0)).usage).toEqual({ outputTokens: 1, source: 'counted' })
  using _json = await rawRequest({ port: route.port, path: '/json', body: {} }).finished()
  expect((await route.end(1)).usage).toBeUndefined()
})

test('a compressed stream, which cannot be looked into, has none', async () => {
  await using guard = await guarded(async (_request, response) => {
    const { gzipSync } = await import('node:zlib')
    response.writeHead(200, { ...eventStream, 'content-encoding': 'gzip' })
    response.end(gzipSync('data: x\n\n'))
  })
  const { expectWarning } = await import('../support/warnings.js')
  const warned = expectWarning(/compressed event stream/)
  using _client = await rawRequest({ port: guard.port, body: { stream: true } }).finished()
  await warned
  expect(guard.ends[0]?.usage).toBeUndefined()
})
