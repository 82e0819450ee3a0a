import { Agent, request as httpRequest, type IncomingMessage } from 'node:http'
import { describe, expect, test, vi } from 'vitest'
import {
  type HandleStreamOptions,
  type RetryOptions,
  type StreamContext,
  type UpstreamSource,
  watchConnect,
  wrapApp,
} from '../../src/index.js'
import { chatChunk, failureOf, textOf } from '../support/chat.js'
import { clockOf } from '../support/clock-of.js'
import { listen, startProxy, upstreamClients } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { good, type Script, startUpstream } from '../support/scripted-upstream.js'
import { synBlackhole } from '../support/syn-blackhole.js'

/** One stream whose upstream does something else at each attempt; the last goes on. */
async function attempts(
  scripts: Script[],
  retry?: RetryOptions,
  options: HandleStreamOptions = {},
  headers: Record<string, string> = {},
) {
  vi.spyOn(Math, 'random').mockReturnValue(0)
  await using upstream = await startUpstream((exchange) => {
    const index = Math.min(upstream.exchanges.length, scripts.length) - 1
    scripts[index]?.(exchange)
  })
  await using proxy = await startProxy(async (stream) => {
    await stream.relay(await stream.openUpstream(() => upstreamClients.http(upstream.url, stream), retry))
  }, options)
  using client = await rawRequest({ port: proxy.port, body: {}, headers }).finished()
  return { client, calls: upstream.exchanges.length, end: await proxy.end() }
}

const answer =
  (status: number, headers = 'X: 1'): Script =>
  (exchange) =>
    exchange.answer(`${status} No`, '{}', headers)

test.each([429, 503, 529])('%i is tried again, invisibly', async (status) => {
  const { client, calls } = await attempts([answer(status, 'Retry-After: 0'), good])
  expect(calls).toBe(2)
  expect(client.status).toBe(200)
  expect(textOf(client.data)).toBe('Hello')
})

test('a Retry-After that does not fit the time is passed on', async () => {
  const { client, calls } = await attempts([answer(429, 'Retry-After: 3600'), good])
  expect(calls).toBe(1)
  expect(client.status).toBe(429)
  expect(client.header('retry-after')).toBe('3600')
})

test('twice is enough, unless told otherwise', async () => {
  const busy = answer(503, 'Retry-After: 0')
  expect(await attempts([busy, busy, good])).toMatchObject({ calls: 2, client: { status: 503 } })
  expect(await attempts([busy, busy, good], { retries: 2 })).toMatchObject({
    calls: 3,
    client: { status: 200 },
  })
  expect(await attempts([busy, good], { retries: 0 })).toMatchObject({ calls: 1, client: { status: 503 } })
})

test.each([400, 401, 404, 500, 502, 504])(
  '%i is not: it may have been billed, or will not change',
  async (status) => {
    expect(await attempts([answer(status), good])).toMatchObject({ calls: 1, client: { status } })
  },
)

test('FM-12: nor is a hang-up on a fresh connection, unless it is asked for', async () => {
  expect(await attempts([(exchange) => exchange.fin(), good])).toMatchObject({
    calls: 1,
    client: { status: 503 },
  })
  const asked = { retryUncertain: true }
  expect(await attempts([(exchange) => exchange.fin(), good], asked)).toMatchObject({
    calls: 2,
    client: { status: 200 },
  })
  expect(await attempts([answer(500), good], asked)).toMatchObject({ calls: 2, client: { status: 200 } })
})

test('FM-03: nor is one that is too slow to begin', async () => {
  const { calls, client } = await attempts(
    [() => {}, good],
    { retryUncertain: true },
    { timeouts: { firstByteMs: 100 } },
  )
  expect(calls).toBe(1)
  expect(client.status).toBe(504)
})

test('FM-01: a refused connection is tried again within the budget', async () => {
  vi.spyOn(Math, 'random').mockReturnValue(0)
  const gone = await startUpstream(() => {})
  await gone[Symbol.asyncDispose]()
  let calls = 0
  await using proxy = await startProxy(async (stream) => {
    await stream.openUpstream(
      () => {
        calls++
        return upstreamClients.http(gone.url, stream)
      },
      { retries: 2 },
    )
  })
  using client = await rawRequest({ port: proxy.port, body: {} }).finished()
  expect(client.status).toBe(503)
  expect(calls).toBe(3)
})

test('FM-47: no attempt is begun that has no time; the first failure is reported', async () => {
  const slow: Script = async (exchange) => {
    await new Promise((resolve) => setTimeout(resolve, 300))
    answer(503, 'Retry-After: 0')(exchange)
  }
  const timeouts = { totalMs: 1_500, connectMs: 400 }
  expect(await attempts([slow, good], {}, { timeouts })).toMatchObject({ calls: 1, client: { status: 503 } })
  const enough = { minAttemptMs: 100 }
  expect(await attempts([slow, good], enough, { timeouts })).toMatchObject({
    calls: 2,
    client: { status: 200 },
  })
})

test('after a byte has reached the client nothing is begun again', async () => {
  let calls = 0
  await using upstream = await startUpstream(answer(503, 'Retry-After: 0'))
  await using proxy = await startProxy(async (stream) => {
    await stream.writer.write({ data: chatChunk('Hello') })
    await stream.openUpstream(() => {
      calls++
      return upstreamClients.http(upstream.url, stream)
    })
  })
  using client = await rawRequest({ port: proxy.port, body: {} }).finished()
  expect(calls).toBe(1)
  expect(failureOf(client.data).code).toBe('upstream_error')
})

test.each(['http', 'axios'] as const)(
  'FM-13: %s, a keep-alive connection that has gone stale is replaced at once, without a duplicate',
  async (name) => {
    await using upstream = await startUpstream((exchange) => {
      const first = exchange.socket.listenerCount('stale') === 0
      exchange.socket.on('stale', () => {})
      // The second request on the first connection meets its end.
      if (first) good(exchange)
      else exchange.socket.resetAndDestroy()
    })
    const agent = new Agent({ keepAlive: true, timeout: 5_000, maxSockets: 1 })
    const open = {
      http: ({ deadlines, signal }: StreamContext) =>
        new Promise<IncomingMessage>((resolve, reject) => {
          watchConnect(httpRequest(upstream.url, { agent, signal }), deadlines)
            .on('response', resolve)
            .on('error', reject)
            .end()
        }),
      axios: async ({ signal }: StreamContext) =>
        (await import('axios')).default.get(upstream.url, {
          httpAgent: agent,
          signal,
          responseType: 'stream',
        }),
    }[name]
    await using proxy = await startProxy(async (stream) => {
      await stream.relay(await stream.openUpstream<UpstreamSource>(() => open(stream), { retries: 0 }))
    })
    for (let index = 0; index < 4; index++) {
      using client = await rawRequest({ port: proxy.port, body: {} }).finished()
      expect(client.status).toBe(200)
      expect(textOf(client.data)).toBe('Hello')
      await proxy.end(index)
      await new Promise(setImmediate)
    }
    expect(upstream.exchanges.length).toBeGreaterThan(4)
    agent.destroy()
  },
)

test('the client leaves while the proxy waits for the next attempt', async () => {
  await using upstream = await startUpstream(answer(503, 'Retry-After: 5'))
  await using proxy = await startProxy(async (stream) => {
    await stream.openUpstream(() => upstreamClients.http(upstream.url, stream))
  })
  using client = rawRequest({ port: proxy.port, body: {} })
  await upstream.exchange(0)
  // Some turns for the answer to be read: whenever the client leaves, the outcome is the same.
  for (let turns = 0; turns < 20; turns++) await new Promise(setImmediate)
  client.reset()
  expect(await proxy.end()).toMatchObject({ outcome: 'client_gone' })
})

test('FM-02: a connection that is not made in time is given up, and another attempt made', async () => {
  vi.spyOn(Math, 'random').mockReturnValue(0)
  await using blackhole = await synBlackhole()
  await using upstream = await startUpstream(good)
  const signals: AbortSignal[] = []
  const call = (stream: StreamContext, retry: RetryOptions, urls: string[]) =>
    stream.openUpstream(({ attempt, signal }) => {
      signals.push(signal)
      return upstreamClients.http(urls[attempt - 1] ?? '', {
        ...stream,
        signal,
        deadlines: stream.deadlines,
      })
    }, retry)
  const deaf = `http://127.0.0.1:${blackhole.port}`
  await using proxy = await startProxy(
    async (stream, request) => {
      const urls = request.url === '/twice' ? [deaf, deaf] : [deaf, upstream.url]
      await stream.relay(await call(stream, {}, urls))
    },
    { timeouts: { connectMs: 150 }, dialect: 'openaiChat' },
  )
  using client = await rawRequest({ port: proxy.port, body: {} }).finished()
  expect(textOf(client.data)).toBe('Hello')
  expect(signals.map((signal) => signal.aborted)).toEqual([true, false])
  using twice = await rawRequest({ port: proxy.port, path: '/twice', body: {} }).finished()
  expect(twice.status).toBe(504)
  expect(twice.json.error.code).toBe('upstream_connect_timeout')
  expect(twice.header('x-should-retry')).toBe('true')
  expect(await proxy.end(1)).toMatchObject({ outcome: 'timeout', phase: 'connect' })
})

test('a client that leaves ends the attempt that is on its way', async () => {
  await using upstream = await startUpstream(() => {})
  let signal: AbortSignal | undefined
  await using proxy = await startProxy(async (stream) => {
    await stream.openUpstream(({ signal: each }) => {
      signal = each
      return fetch(upstream.url, { signal: each })
    })
  })
  using client = rawRequest({ port: proxy.port, body: {} })
  await upstream.exchange(0)
  client.reset()
  await (await upstream.exchange(0)).closed
  expect(signal?.reason).toMatchObject({ outcome: 'client_gone' })
})

test('for a client that retries by itself there is no other attempt, unless an option says so', async () => {
  const headers = { 'x-stainless-retry-count': '1' }
  const busy = answer(503, 'Retry-After: 0')
  expect(await attempts([busy, good], undefined, {}, headers)).toMatchObject({
    calls: 1,
    client: { status: 503 },
  })
  expect(await attempts([busy, good], { retries: 1 }, {}, headers)).toMatchObject({ calls: 2 })
  expect(await attempts([busy, good], undefined, {}, { 'x-stainless-retry-count': '0' })).toMatchObject({
    calls: 2,
  })
})

describe('FM-44: a client that says how long it waits', () => {
  test.each([
    ['20', 19_600],
    ['2', 1_750],
    ['1', 1_000],
    ['0', 120_000],
    ['600', 120_000],
    ['soon', 120_000],
    ['-5', 120_000],
    ['1e9', 120_000],
    [undefined, 120_000],
  ])('%s seconds make %i ms', async (seconds, firstByteMs) => {
    const headers: Record<string, string> = seconds === undefined ? {} : { 'x-stainless-timeout': seconds }
    let inForce: unknown
    await using proxy = await startProxy((stream) => {
      inForce = clockOf(stream).timeouts.firstByteMs
      return stream.writer.write({ data: 'x' })
    })
    using _client = await rawRequest({ port: proxy.port, path: '/events', body: {}, headers }).finished()
    expect(inForce).toBe(firstByteMs)
  })

  test('has its 504 in time, from the guard as well', async () => {
    const headers = { 'x-stainless-timeout': '1' }
    await using proxy = await startProxy(
      ({ signal }) => new Promise((resolve) => signal.addEventListener('abort', resolve)),
    )
    await using guarded = await listen(wrapApp(() => {}))
    for (const { port } of [proxy, guarded]) {
      using client = await rawRequest({ port, body: { stream: true }, headers }).finished()
      expect(client.status).toBe(504)
      expect(client.header('x-should-retry')).toBe('false')
    }
  })
})

test('a Retry-After is not waited for beyond the head: its status would be lost', async () => {
  const options = { writer: { headersAfterMs: 300 } }
  const { calls, client } = await attempts([answer(429, 'Retry-After: 1'), good], {}, options)
  expect(calls).toBe(1)
  expect(client.status).toBe(429)
  expect(client.header('retry-after')).toBe('1')
})

test('nor is an attempt made that the client would not wait for', async () => {
  const headers = { 'x-stainless-timeout': '2' }
  const retry = { minAttemptMs: 100 }
  const late = await attempts([answer(429, 'Retry-After: 3'), good], retry, {}, headers)
  expect(late).toMatchObject({ calls: 1, client: { status: 429 } })
  const startedAt = performance.now()
  const slow: Script = async (exchange) => {
    await new Promise((resolve) => setTimeout(resolve, 800))
    answer(503, 'Retry-After: 0')(exchange)
  }
  const { calls, client } = await attempts([slow, () => {}], retry, {}, headers)
  expect(calls).toBe(2)
  expect(client.status).toBe(504)
  expect(performance.now() - startedAt).toBeLessThan(2_000)
})

test.each([
  ['Retry-After: 1.5', 2],
  ['Retry-After: -5', 2],
  ['Retry-After: soon', 2],
  ['Retry-After: 99999999999999', 1],
  ['Retry-After: Fri, 31 Dec 2100 23:59:59 GMT', 1],
  ['Retry-After: Fri, 31 Dec 1999 23:59:59 GMT', 2],
  ['Retry-After: 60\r\nretry-after-ms: 1', 2],
  ['Retry-After: 0\r\nx-should-retry: false', 1],
])('%s: %i calls', async (headers, calls) => {
  const result = await attempts([answer(429, headers), good], {}, { timeouts: { totalMs: false } })
  expect(result.calls).toBe(calls)
})

test('the upstream’s advice is passed on', async () => {
  const { client } = await attempts([answer(429, 'retry-after-ms: 90000\r\nx-should-retry: true'), good])
  expect(client.header('retry-after-ms')).toBe('90000')
  expect(client.header('x-should-retry')).toBe('true')
})

test('a keep-alive connection that was at work when it was cut is not stale', async () => {
  for (const half of [true, false]) {
    await using upstream = await startUpstream(async (exchange) => {
      if (upstream.exchanges.length === 1) return good(exchange)
      if (half) exchange.raw('HTTP/1.1 200 OK\r\nContent-')
      await new Promise((resolve) => setTimeout(resolve, half ? 50 : 1_100))
      exchange.socket.resetAndDestroy()
    })
    const agent = new Agent({ keepAlive: true, timeout: 5_000, maxSockets: 1 })
    await using proxy = await startProxy(async (stream) => {
      const open = () =>
        new Promise<IncomingMessage>((resolve, reject) => {
          const request = httpRequest(upstream.url, { agent, method: 'POST', signal: stream.signal })
          watchConnect(request, stream.deadlines).on('response', resolve).on('error', reject).end()
        })
      await stream.relay(await stream.openUpstream(open))
    })
    for (const status of [200, 503]) {
      using client = await rawRequest({ port: proxy.port, body: {} }).finished()
      expect(client.status).toBe(status)
      await new Promise(setImmediate)
    }
    expect(upstream.exchanges).toHaveLength(2)
    agent.destroy()
  }
})

test('an axios that throws for a status leaves no connection behind', async () => {
  const { default: axios } = await import('axios')
  const agent = new Agent({ keepAlive: true, timeout: 5_000 })
  await using upstream = await startUpstream((exchange) =>
    exchange.answer('429 No', '{"error":{"message":"slow down"}}', 'Retry-After: 60'),
  )
  const details: unknown[] = []
  for (const how of ['openUpstream', 'relay'] as const) {
    await using proxy = await startProxy(
      (stream) => {
        const { signal } = stream
        const call = () =>
          axios.post(upstream.url, undefined, { httpAgent: agent, responseType: 'stream', signal })
        return how === 'relay' ? stream.relay(call()) : stream.openUpstream(call)
      },
      { exposeUpstreamErrors: true },
    )
    for (let calls = 0; calls < 5; calls++) {
      using client = await rawRequest({ port: proxy.port, body: {} }).finished()
      expect(client.status).toBe(429)
      details.push(client.json.error.message)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
  expect(new Set(details)).toEqual(new Set(['The upstream responded with status 429. slow down']))
  expect(Object.values(agent.sockets).flat()).toHaveLength(0)
  expect(upstream.connections).toBeLessThan(4)
  agent.destroy()
})

test('FM-20: the slow body of an error is bounded by inactivityMs here, too', async () => {
  const stalls: Script = (exchange) => exchange.raw('HTTP/1.1 400 No\r\nContent-Length: 99\r\n\r\n{"error"')
  const { client, end } = await attempts([stalls], {}, { timeouts: { inactivityMs: 150 } })
  expect(client.status).toBe(504)
  expect(end).toMatchObject({ outcome: 'timeout', phase: 'inactivity' })
})

test('bad options are named', async () => {
  const { end } = await attempts([good], { retries: -1 })
  expect(end.reason?.cause).toMatchObject({ message: 'retry.retries must be a whole number from 0, got -1' })
})

describe('an upstream that the handler does not read is let go', () => {
  const ask = (url: string) =>
    new Promise<IncomingMessage>((resolve, reject) => {
      httpRequest(url, { method: 'POST', agent: false }, resolve).on('error', reject).end()
    })

  test('an upstream that is never read ends with its stream', async () => {
    await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hi')))
    await using proxy = await startProxy(
      async (stream) => {
        await stream.openUpstream(() => ask(upstream.url))
        throw new Error('no use for it')
      },
      { onEnd: () => true },
    )
    using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
    expect(client.status).toBe(500)
    await (await upstream.exchange(0)).closed
  })

  test('one that answers when its client has left, to a call that knows nothing of the signal', async () => {
    await using upstream = await startUpstream(() => {})
    await using proxy = await startProxy(async (stream) => {
      await stream.relay(stream.openUpstream(() => ask(upstream.url)))
    })
    const client = rawRequest({ port: proxy.port, body: { stream: true } })
    const exchange = await upstream.exchange(0)
    client.socket.destroy()
    await proxy.end()
    exchange.open().data(chatChunk('late'))
    await exchange.closed
  })
})
