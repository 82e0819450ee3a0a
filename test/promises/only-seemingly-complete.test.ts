import { describe, expect, test } from 'vitest'
import { type HandleStreamOptions, isUpstreamError, readAnswer, type StreamEnd } from '../../src/index.js'
import { chatChunk, failureOf, textOf } from '../support/chat.js'
import { dialectAnswers } from '../support/dialect-answers.js'
import { guarded } from '../support/guarded.js'
import { answerNaively } from '../support/mounts.js'
import { startProxy, upstreamClients } from '../support/proxy.js'
import { type RawClient, rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'

interface Seen {
  client: RawClient
  end: StreamEnd
  /** The error of the relay. */
  thrown?: unknown
}

/** The result of an upstream that sends these bytes under the head of an event stream, and ends well. */
type Mount = (text: string, path: string, options?: HandleStreamOptions) => Promise<Seen>

const route =
  (isMapped: boolean): Mount =>
  async (text, path, options) => {
    let thrown: unknown
    await using upstream = await startUpstream((exchange) => exchange.open().chunk(text).end())
    await using proxy = await startProxy(async (stream) => {
      const answer = await upstreamClients.http(upstream.url, stream)
      await stream.relay(answer, isMapped ? (event) => event : undefined).catch((error) => {
        thrown = error
      })
    }, options)
    const client = await rawRequest({ port: proxy.port, path, body: { stream: true } }).finished()
    return { client, end: await proxy.end(), thrown }
  }

const guard: Mount = async (text, path) => {
  await using upstream = await startUpstream((exchange) => exchange.open().chunk(text).end())
  await using proxy = await guarded((request, response) =>
    answerNaively({ stream: true }, upstream.url, request, response),
  )
  const client = await rawRequest({ port: proxy.port, path, body: { stream: true } }).finished()
  while (proxy.ends.length === 0) await new Promise((resolve) => setImmediate(resolve))
  return { client, end: proxy.ends[0] as StreamEnd }
}

const mounts: [string, Mount][] = [
  ['relay', route(false)],
  ['relay with a map', route(true)],
  ['the guard', guard],
]

const chat = '/v1/chat/completions'
const begun = dialectAnswers.openaiResponses?.begun.join('') ?? ''
const last = (type: string, response: object) =>
  `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: 9, response })}\n\n`
const failed = last('response.failed', {
  status: 'failed',
  error: { code: 'rate_limit_exceeded', message: 'slow down' },
})
const incomplete = last('response.incomplete', {
  status: 'incomplete',
  incomplete_details: { reason: 'max_output_tokens' },
})
/** As llama.cpp sent its errors, see src/framing/sse/follow.ts. */
const errorField =
  'error: {"code":400,"message":"exceeds the context","type":"invalid_request_error"}\n\ndata: [DONE]\n\n'

describe.each(mounts)('%s: an answer that only seems to be complete', (name, ask) => {
  test('response.failed is the upstream’s error', async () => {
    const { client, end, thrown } = await ask(begun + failed, '/v1/responses')
    expect(end).toMatchObject({ outcome: 'upstream_error', sawTerminal: false, reason: { status: 429 } })
    expect(end.reason).toHaveProperty('detail', 'slow down')
    if (name !== 'the guard') expect(isUpstreamError(thrown)).toBe(true)
    // With a map the client is told in our own words.
    if (name === 'relay with a map') expect(client.events.at(-1)).toMatchObject({ event: 'error' })
    else expect(client.bodyText).toBe(begun + failed)
    expect(client.body.complete).toBe(true)
  })

  test('response.incomplete is an ending, to which nothing is added, but no complete answer', async () => {
    const { client, end, thrown } = await ask(begun + incomplete, '/v1/responses')
    expect(client.events.at(-1)).toMatchObject({ event: 'response.incomplete' })
    expect(client.body.complete).toBe(true)
    expect(thrown).toBeUndefined()
    expect(end).toMatchObject({
      outcome: 'upstream_truncated',
      sawTerminal: true,
      usage: expect.anything(),
      suppressed: [],
      reason: { code: 'upstream_truncated', headersSent: true },
    })
  })

  test('a [DONE] without data: is not an end', async () => {
    const { client, end } = await ask(`data: ${JSON.stringify(chatChunk('Hel'))}\n\n[DONE]\n\n`, chat)
    expect(failureOf(client.data).code).toBe('upstream_truncated')
    expect(end).toMatchObject({ outcome: 'upstream_truncated' })
  })
})

describe.each(mounts.slice(0, 2))(
  '%s: an error in a field of its own, which no client reads',
  (_name, ask) => {
    test('is an error event', async () => {
      const { client, end } = await ask(`data: ${JSON.stringify(chatChunk('Hel'))}\n\n${errorField}`, chat)
      expect(textOf(client.data)).toBe('Hel')
      expect(failureOf(client.data).code).toBe('upstream_error')
      expect(client.body.complete).toBe(true)
      expect(end).toMatchObject({ outcome: 'upstream_error', reason: { status: 400 } })
      expect(end.reason).toHaveProperty('detail', 'exceeds the context')
    })

    test('has its status before the head', async () => {
      const { client, end } = await ask(errorField, chat)
      expect(client.status).toBe(400)
      expect(client.json.error.code).toBe('upstream_error')
      expect(end).toMatchObject({ outcome: 'upstream_error', status: 400 })
    })
  },
)

test('the guard: an error in a field of its own is reported after what was written', async () => {
  const [error, done] = errorField.split(/(?<=\n\n)/)
  await using proxy = await guarded((_request, response) => {
    response.setHeader('content-type', 'text/event-stream')
    response.write(`data: ${JSON.stringify(chatChunk('Hel'))}\n\n${error}`)
    response.end(done)
  })
  using client = await rawRequest({ port: proxy.port, path: chat, body: { stream: true } }).finished()
  expect(failureOf(client.data).code).toBe('upstream_error')
})

describe('a lone [DONE]', () => {
  const lone = ': hello\n\ndata: [DONE]\n\n'

  test('is not an answer: 502', async () => {
    const { client, end, thrown } = await route(false)(lone, chat)
    expect(client.status).toBe(502)
    expect(client.json.error.code).toBe('upstream_truncated')
    expect(end).toMatchObject({ outcome: 'upstream_truncated', sawTerminal: false, events: 0 })
    expect(thrown).toMatchObject({ outcome: 'upstream_truncated' })
  })

  test('after the head it is an error event in its place', async () => {
    await using upstream = await startUpstream(() => {})
    await using proxy = await startProxy(
      async (stream) => {
        stream.writer.open()
        await stream.relay(upstreamClients.http(upstream.url, stream))
      },
      { dialect: 'openaiChat' },
    )
    using client = rawRequest({ port: proxy.port, body: { stream: true } })
    ;(await upstream.exchange(0)).open().chunk(lone).end()
    await client.finished()
    expect(failureOf(client.data).code).toBe('upstream_truncated')
    expect(await proxy.end()).toMatchObject({ outcome: 'upstream_truncated', events: 1 })
  })

  test('readAnswer finds none in it', async () => {
    await expect(readAnswer(new Response(lone), { dialect: 'openaiChat' })).rejects.toMatchObject({
      outcome: 'upstream_truncated',
    })
  })

  test('a handler that says it itself is believed', async () => {
    await using proxy = await startProxy(({ writer }) => writer.close('[DONE]'), { dialect: 'openaiChat' })
    using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
    expect(client.data).toEqual(['[DONE]'])
    expect(await proxy.end()).toMatchObject({ outcome: 'completed' })
  })
})

test('readAnswer returns an incomplete response as its API does, and throws for one that failed', async () => {
  expect(await readAnswer(new Response(begun + incomplete))).toMatchObject({ status: 'incomplete' })
  await expect(readAnswer(new Response(begun + failed))).rejects.toMatchObject({
    outcome: 'upstream_error',
    status: 429,
    detail: 'slow down',
  })
})

test('a field called error beside data, or one that is not JSON, is not looked at', async () => {
  const events = 'error: {"a":1}\ndata: x\n\nerror: x\n\ndata: y\n\n'
  const { client, end } = await route(false)(events, '/events')
  expect(client.bodyText).toBe(events)
  expect(end).toMatchObject({ outcome: 'completed' })
})
