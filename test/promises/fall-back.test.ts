import { describe, expect, test } from 'vitest'
import type { EventMap } from '../../src/index.js'
import { chatAnswer, failureOf, textOf } from '../support/chat.js'
import { startProxy, upstreamClients } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { type Script, startUpstream } from '../support/scripted-upstream.js'

const { http, fetch } = upstreamClients

/** An upstream that fails before its first event. */
const failures: Record<string, Script> = {
  'an error status': (exchange) => exchange.answer('503 Service Unavailable', '{"error":{"message":"full"}}'),
  'an error in JSON': (exchange) => exchange.answer('200 OK', '{"error":{"message":"full"}}'),
  'an error as the first event': (exchange) =>
    exchange
      .open()
      .data({ error: { message: 'full' } })
      .end(),
  'a comment and an error': (exchange) =>
    exchange
      .open()
      .chunk(': processing\n\n')
      .data({ error: { message: 'full' } })
      .end(),
  'a reset before the head': (exchange) => exchange.reset(),
  'a reset after the head': async (exchange) => {
    await exchange.open().reset()
  },
  'a reset after a comment': async (exchange) => {
    await exchange.open().chunk(': processing\n\n').reset()
  },
  'a reset in the first event': async (exchange) => {
    await exchange.open().chunk('data: {"id":"chatcm').reset()
  },
  'an end without an event': (exchange) => exchange.open().end(),
  'a web page': (exchange) => exchange.answer('200 OK', '<html></html>', 'Content-Type: text/html'),
}

const answer = chatAnswer('Hel', 'lo')
const wire = answer
  .map((data) => `data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`)
  .join('')

/** The other upstream, which has a whole answer. */
const answers: Record<string, Script> = {
  'event by event': (exchange) =>
    exchange
      .open()
      .data(...answer)
      .end(),
  'at once': (exchange) => exchange.open().chunk(wire).end(),
  'byte by byte': (exchange) => {
    exchange.open()
    for (const byte of Buffer.from(wire)) exchange.chunk(Uint8Array.of(byte))
    exchange.end()
  },
}

const maps: Record<string, EventMap | undefined> = { 'as it is': undefined, mapped: (event) => event }

describe.each(Object.entries(maps))('a handler falls back to another upstream, %s', (_how, map) => {
  describe.each(Object.entries(answers))('which answers %s', (_chunked, second) => {
    test.each(Object.entries(failures))('after %s', async (_failure, first) => {
      await using broken = await startUpstream(first)
      await using good = await startUpstream(second)
      await using proxy = await startProxy(async (stream) => {
        try {
          await stream.relay(http(broken.url, stream), map)
        } catch {
          await stream.relay(http(good.url, stream), map)
        }
      })
      using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
      expect(client.data).toEqual(
        answer.map((data) => (typeof data === 'string' ? data : JSON.stringify(data))),
      )
      expect(await proxy.end()).toMatchObject({
        outcome: 'completed',
        reason: undefined,
        status: 200,
        events: answer.length,
        bytes: Buffer.byteLength(client.bodyText),
        sawTerminal: true,
      })
    })
  })

  test('and that one fails as well: the client hears of the last failure, by its status', async () => {
    await using broken = await startUpstream((exchange) => exchange.answer('503 Service Unavailable', '{}'))
    await using worse = await startUpstream((exchange) => exchange.answer('429 Too Many Requests', '{}'))
    await using proxy = await startProxy(async (stream) => {
      await stream
        .relay(fetch(broken.url, stream), map)
        .catch(() => stream.relay(fetch(worse.url, stream), map))
    })
    using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
    expect(client.status).toBe(429)
    expect(await proxy.end()).toMatchObject({ outcome: 'upstream_error', events: 0 })
  })

  test('and it breaks in the middle: its events, and its failure', async () => {
    await using broken = await startUpstream((exchange) => exchange.reset())
    await using cut = await startUpstream(async (exchange) => {
      await exchange.open().data(answer[0]).reset()
    })
    await using proxy = await startProxy(async (stream) => {
      await stream.relay(http(broken.url, stream), map).catch(() => stream.relay(http(cut.url, stream), map))
    })
    using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
    expect(textOf(client.data.slice(0, 1))).toBe('Hel')
    expect(failureOf(client.data).code).toBe('connection_reset')
    expect(await proxy.end()).toMatchObject({ outcome: 'upstream_hangup', events: 2, sawTerminal: false })
  })

  test('and forgets to: the failure is not lost', async () => {
    await using broken = await startUpstream((exchange) => exchange.open().end())
    await using proxy = await startProxy(async (stream) => {
      await stream.relay(http(broken.url, stream), map).catch(() => {})
    })
    using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
    expect(client.status).toBe(502)
    expect(await proxy.end()).toMatchObject({ outcome: 'upstream_truncated' })
  })
})

test('a handler writes the answer itself after its upstream has failed', async () => {
  await using broken = await startUpstream((exchange) => exchange.reset())
  await using proxy = await startProxy(async (stream) => {
    await stream.relay(http(broken.url, stream)).catch(() => {})
    for (const data of answer) await stream.writer.write({ data: data as string })
  })
  using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
  expect(textOf(client.data)).toBe('Hello')
  expect(await proxy.end()).toMatchObject({ outcome: 'completed', events: answer.length })
})

test('nothing is sent after the terminal event, also not by close()', async () => {
  await using proxy = await startProxy(({ writer }) => {
    writer.close({ data: answer[0] as object }, { data: '[DONE]' }, { data: 'too late' })
  })
  using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
  expect(client.data.at(-1)).toBe('[DONE]')
  expect(await proxy.end()).toMatchObject({
    outcome: 'completed',
    events: 2,
    bytes: Buffer.byteLength(client.bodyText),
  })
})

test('map may return a list with holes', async () => {
  await using upstream = await startUpstream((exchange) =>
    exchange
      .open()
      .data(...answer)
      .end(),
  )
  await using proxy = await startProxy(async (stream) =>
    stream.relay(await http(upstream.url, stream), (event) => [null, event, undefined]),
  )
  using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
  expect(textOf(client.data)).toBe('Hello')
  expect(await proxy.end()).toMatchObject({ outcome: 'completed', events: answer.length })
})
