import { expect, test } from 'vitest'
import { isStreamError, readAnswer } from '../../src/index.js'
import { chatChunk, failureOf, textOf } from '../support/chat.js'
import { startProxy } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { type Script, startUpstream } from '../support/scripted-upstream.js'

/** JSON that `JSON.parse` takes, and that overflows the stack of any code that writes it again. */
const deep = '['.repeat(100_000) + ']'.repeat(100_000)

/** The response that a client gets of an upstream, and its record. */
async function relayed(script: Script) {
  await using upstream = await startUpstream(script)
  await using proxy = await startProxy(
    ({ relay, signal }) => relay(fetch(upstream.url, { method: 'POST', signal })),
    { dialect: 'openaiChat' },
  )
  using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
  return { client, end: await proxy.end() }
}

test.each<[string, string]>([
  ['an answer', `{"choices":[{"index":0,"message":{"content":"x","more":${deep}},"finish_reason":"stop"}]}`],
  ['an error', `{"error":${deep}}`],
  ['the message of an error', `{"error":{"message":${deep}}}`],
])('JSON instead of events that is nested without end is the upstream’s fault: %s', async (_what, json) => {
  const { client, end } = await relayed((exchange) => exchange.answer('200 OK', json))
  expect(client.status).toBe(502)
  expect(client.json.error.code).toBe('upstream_protocol_error')
  expect(end.outcome).toBe('upstream_protocol')
})

test('so is an error event whose status is', async () => {
  const { client, end } = await relayed((exchange) =>
    exchange.open().data(`{"error":{"status":${deep}}}`).end(),
  )
  expect(client.status).toBe(502)
  expect(end.outcome).toBe('upstream_error')
})

test('a chunk whose model is does not keep the error from the client', async () => {
  const chunk = JSON.stringify(chatChunk('Hel')).replace('"test-model"', deep)
  const { client, end } = await relayed((exchange) => exchange.open().data(chunk, chatChunk('lo')).fin())
  expect(client.body.complete).toBe(true)
  expect(textOf(client.data)).toBe('Hello')
  expect(failureOf(client.data).code).toBe('connection_reset')
  expect(end.outcome).toBe('upstream_hangup')
})

test.each<['openaiChat' | 'anthropic', string, string]>([
  ['openaiChat', 'upstream_protocol', `{"choices":[{"index":0,"delta":{"details":${deep}}}]}`],
  // A value that is not text is not collected: the answer has no end, and that is all.
  [
    'anthropic',
    'upstream_truncated',
    `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":${deep}}}`,
  ],
])('readAnswer says that it is the upstream’s fault: %s', async (dialect, outcome, event) => {
  await using upstream = await startUpstream((exchange) => exchange.open().data(event).end())
  const failure = await readAnswer(await fetch(upstream.url, { method: 'POST' }), { dialect }).catch(
    (error) => error,
  )
  expect(isStreamError(failure) && failure.outcome).toBe(outcome)
})
