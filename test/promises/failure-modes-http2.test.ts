import { connect, createServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import { type HandleStreamOptions, handleStream, type StreamEnd } from '../../src/index.js'
import {
  assertCleanEnding,
  type FaultName,
  faults,
  startUpstream,
  type UpstreamScript,
} from '../../src/testing/index.js'
import { chatAnswer, chatChunk } from '../support/chat.js'
import { startHttp2Proxy } from '../support/http2-client.js'
import { upstreamClients } from '../support/proxy.js'

const { http } = upstreamClients

/** One upstream that follows the script, and a proxy that responds over HTTP/2. */
async function scene(script: UpstreamScript, options: HandleStreamOptions = {}) {
  const upstream = await startUpstream(script)
  const proxy = await startHttp2Proxy((stream) => stream.relay(http(upstream.url, stream)), options)
  return {
    upstream,
    ...proxy,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]()
      await upstream[Symbol.asyncDispose]()
    },
  }
}

const modes: [string, FaultName, { status: number; code: string; text?: string }][] = [
  ['FM-03', 'silent', { status: 504, code: 'upstream_first_byte_timeout' }],
  ['FM-04', 'headOnly', { status: 504, code: 'upstream_first_byte_timeout' }],
  ['FM-06', 'stalled', { status: 200, code: 'upstream_inactivity_timeout', text: 'Hello' }],
  ['FM-08', 'drip', { status: 200, code: 'request_timeout_total' }],
  ['FM-12', 'finBeforeHead', { status: 503, code: 'connection_reset' }],
  ['FM-14', 'resetBeforeHead', { status: 503, code: 'connection_reset' }],
  ['FM-15', 'finMidStream', { status: 200, code: 'connection_reset', text: 'Hello' }],
  ['FM-15', 'resetMidStream', { status: 200, code: 'connection_reset', text: 'Hello' }],
  ['FM-16', 'shortBody', { status: 200, code: 'connection_reset', text: 'Hello' }],
  ['FM-17', 'truncated', { status: 200, code: 'upstream_truncated', text: 'Hello' }],
  ['FM-18', 'garbage', { status: 502, code: 'upstream_protocol_error' }],
  // All of it in one segment: node:http then says no more than that the connection broke.
  ['FM-18', 'badChunkSize', { status: 200, code: 'connection_reset', text: 'Hello' }],
  ['FM-19', 'rateLimited', { status: 429, code: 'rate_limit_exceeded' }],
  ['FM-20', 'serverError', { status: 500, code: 'upstream_error' }],
  ['FM-21', 'errorEvent', { status: 503, code: 'upstream_error' }],
]

test.each(modes)('%s, HTTP/2: %s', async (_mode, fault, { status, code, text }) => {
  const timeouts = { firstByteMs: 250, inactivityMs: 250, totalMs: 700 }
  await using s = await scene(faults[fault], { timeouts })
  const client = await s.ask().finished()
  expect(assertCleanEnding(client)).toMatchObject({ status, code })
  if (text)
    expect(
      client.data
        .slice(0, -1)
        .map((data) => JSON.parse(data).choices[0].delta.content)
        .join(''),
    ).toBe(text)
  for (const name of ['connection', 'keep-alive', 'transfer-encoding'])
    expect(client.header(name)).toBeUndefined()
})

describe('HTTP/2, the client', () => {
  test('FM-22: leaves before the head: the upstream is let go', async () => {
    await using s = await scene(() => {})
    const client = s.ask()
    const upstream = await s.upstream.exchange(0)
    client.stream.close(8)
    await upstream.closed
    expect(await s.end()).toMatchObject({ outcome: 'client_gone', status: undefined })
  })

  test('FM-23, FM-38: leaves mid-stream: no write after, the upstream is let go', async () => {
    await using s = await scene((exchange) => exchange.open().data(chatChunk('Hi')))
    const client = await s.ask().received('Hi')
    client.stream.close(8)
    await (await s.upstream.exchange(0)).closed
    expect(await s.end()).toMatchObject({ outcome: 'client_gone', events: 1 })
  })

  test.each([
    ['FM-25: leaves while the proxy waits for it to read', true],
    ['FM-27: stops reading: it is let go at clientStallMs, and the upstream is not blamed', false],
  ])('%s', async (_mode, leaves) => {
    await using s = await scene(faults.flood, {
      timeouts: { clientStallMs: 300, inactivityMs: 100, firstByteMs: 100 },
    })
    const client = s.ask()
    client.stream.pause()
    if (leaves) setTimeout(() => client.stream.close(8), 100)
    expect(await s.end()).toMatchObject({ outcome: leaves ? 'client_gone' : 'client_stalled' })
    await (await s.upstream.exchange(0)).closed
  })

  test('FM-28: reads slowly: the stream completes', async () => {
    const piece = 'x'.repeat(64 * 1024)
    await using s = await scene(
      (exchange) =>
        exchange
          .open()
          .data(...chatAnswer(...Array<string>(30).fill(piece)))
          .end(),
      { timeouts: { inactivityMs: 150, clientStallMs: 1_000 } },
    )
    const client = s.ask()
    const slowly = setInterval(() => {
      client.stream.pause()
      setTimeout(() => client.stream.resume(), 15)
    }, 30)
    await client.finished()
    clearInterval(slowly)
    expect(assertCleanEnding(client)).toBeUndefined()
    expect(client.data).toHaveLength(32)
  })
})

test('HTTP/2, FM-11: a reset after the terminal event is a normal end', async () => {
  await using s = await scene(async (exchange) => {
    exchange.open().data(...chatAnswer('Hi'))
    await exchange.reset()
  })
  expect(assertCleanEnding(await s.ask().finished())).toBeUndefined()
  expect(await s.end()).toMatchObject({ outcome: 'completed' })
})

test('HTTP/2, FM-32, FM-33: the caller aborts, before and in mid-stream', async () => {
  for (const early of [true, false]) {
    const controller = new AbortController()
    if (early) controller.abort(new Error('mine'))
    await using s = await scene((exchange) => exchange.open().data(chatChunk('Hi')), {
      signal: controller.signal,
    })
    const client = s.ask()
    if (!early) {
      await client.received('Hi')
      controller.abort(new Error('mine'))
    }
    expect(assertCleanEnding(await client.finished())).toMatchObject({ code: 'request_aborted' })
    expect(s.upstream.exchanges).toHaveLength(early ? 0 : 1)
  }
})

test('HTTP/2, FM-01: an upstream that refuses is 503', async () => {
  const gone = await startUpstream(() => {})
  await gone[Symbol.asyncDispose]()
  await using proxy = await startHttp2Proxy((stream) => stream.relay(http(gone.url, stream)))
  const client = await proxy.ask().finished()
  expect(assertCleanEnding(client)).toMatchObject({ status: 503, code: 'upstream_unreachable' })
  expect(client.header('x-should-retry')).toBe('true')
})

test.each([
  ['FM-05', 'onlyComments', { firstByteMs: 200, firstEventMs: 300 }, 'upstream_first_event_timeout'],
  [
    'FM-07',
    'onlyComments',
    { firstByteMs: 200, upstreamStallMs: 300, inactivityMs: 200 },
    'upstream_stalled',
  ],
] as const)('HTTP/2, %s: signs of life without content', async (_mode, fault, timeouts, code) => {
  await using s = await scene(
    (exchange) => {
      if (code === 'upstream_stalled')
        exchange
          .open()
          .data(chatChunk('Hi'))
          .every(20, () => exchange.chunk(': ping\n\n'))
      else faults[fault](exchange)
    },
    { timeouts },
  )
  expect(assertCleanEnding(await s.ask().finished())).toMatchObject({ code })
})

test('HTTP/2, FM-21: an error event that comes later is passed on, and none is added', async () => {
  await using s = await scene((exchange) =>
    exchange
      .open()
      .data(chatChunk('Hi'), { error: { message: 'no' } })
      .end(),
  )
  const client = await s.ask().finished()
  expect(assertCleanEnding(client)).toMatchObject({ message: 'no' })
  expect(client.data).toHaveLength(2)
})

test('HTTP/2, FM-29: a client that does not read the end is let go at clientStallMs', async () => {
  const long = 'x'.repeat(100_000)
  await using s = await scene(
    (exchange) =>
      exchange
        .open()
        .data(...chatAnswer(long, long, long))
        .end(),
    { timeouts: { clientStallMs: 200 } },
  )
  const client = s.ask()
  client.stream.pause()
  expect(await s.end()).toMatchObject({ outcome: 'client_stalled' })
})

test('HTTP/2, FM-48: [DONE] ends the stream at once, though the upstream stays', async () => {
  await using s = await scene((exchange) => exchange.open().data(...chatAnswer('Hi')), {
    cleanup: { lingerMs: 100 },
  })
  expect(assertCleanEnding(await s.ask().finished())).toBeUndefined()
  await (await s.upstream.exchange(0)).closed
  expect(await s.end()).toMatchObject({ outcome: 'completed' })
})

test('HTTP/2, FM-24: a client that has gone before the stream begins: the handler is never called', async () => {
  let handled = false
  const ended = new Promise<StreamEnd>((resolve) => {
    const server = createServer(async (_request, response) => {
      await new Promise((close) => response.once('close', close))
      const handler = () => {
        handled = true
      }
      resolve(await handleStream(response, handler))
      server.close()
    }).listen(0, '127.0.0.1', () => {
      const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
      const stream = session.request({ ':method': 'POST', ':path': '/v1/chat/completions' })
      stream.on('error', () => {})
      server.once('stream', () => {
        stream.close(8)
        stream.once('close', () => session.close())
      })
    })
  })
  expect(await ended).toMatchObject({ outcome: 'client_gone', status: undefined })
  expect(handled).toBe(false)
})

test('HTTP/2, FM-26: a client that has gone during its upload: the upstream is never called', async () => {
  await using upstream = await startUpstream(() => {})
  await using proxy = await startHttp2Proxy(async (stream, request) => {
    for await (const _ of request);
    await stream.relay(http(upstream.url, stream))
  })
  const client = proxy.ask('/v1/chat/completions', false)
  await proxy.asked
  client.stream.close(8)
  expect(await proxy.end()).toMatchObject({ outcome: 'client_gone' })
  expect(upstream.exchanges).toHaveLength(0)
})

test('HTTP/2, FM-31: two ends at once: one error event, the first outcome', async () => {
  await using s = await scene((exchange) => exchange.open().data(chatChunk('Hi')), {
    timeouts: { totalMs: 210, inactivityMs: 200 },
  })
  const client = await s.ask().received('Hi')
  const reset = (await s.upstream.exchange(0)).reset()
  for (const until = performance.now() + 250; performance.now() < until; );
  await reset
  expect(assertCleanEnding(await client.finished())).toBeDefined()
})
