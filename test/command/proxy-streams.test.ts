import { once } from 'node:events'
import type { Socket } from 'node:net'
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { drainStreams } from '../../src/index.js'
import {
  type AnswerShape,
  answers,
  assertCleanEnding,
  type FaultName,
  faults,
  faultsOf,
  RawClient,
  rawRequest,
  startUpstream,
  type UpstreamScript,
} from '../../src/testing/index.js'
import { chatAnswer, chatChunk, heartbeatPattern, textOf } from '../support/chat.js'
import { startProxied } from '../support/proxied.js'
import { wire } from '../support/wire.js'

const chat = { model: 'test-model', stream: true, messages: [] }
const shapes = Object.keys(answers) as AnswerShape[]
const json = 'Content-Type: application/json'

describe.each(shapes)('a stream of %s', (shape) => {
  const { path, headers, begun, piece, end } = answers[shape]
  const whole = begun + piece('lo') + end

  test('arrives byte for byte, with the headers of its upstream', async () => {
    await using upstream = await startUpstream((exchange) =>
      exchange.open(`${headers}\r\nX-Ratelimit: 7\r\nx-request-id: theirs`).chunk(whole).end(),
    )
    await using proxy = await startProxied(upstream.url)
    using client = await rawRequest({ port: proxy.port, path, body: chat }).finished()
    expect(client.bodyText).toBe(whole)
    expect(client.status).toBe(200)
    expect(client.header('x-ratelimit')).toBe('7')
    expect(client.header('x-request-id')).toBe('theirs')
    expect(await proxy.line(0)).toMatch(/completed, status 200, \d+ events, \d+ bytes, \d+ ms$/)
  })

  test('that is reset, or stops short, ends with an error of its API', async () => {
    for (const fault of ['resetMidStream', 'truncated'] as const) {
      // Gemini has no terminal event, but for one that says why it ends.
      await using upstream = await startUpstream(faultsOf(shape)[fault])
      await using proxy = await startProxied(upstream.url)
      using client = await rawRequest({ port: proxy.port, path, body: chat }).finished()
      expect(client.body.complete).toBe(true)
      expect(client.bodyText.startsWith(begun + piece('lo'))).toBe(true)
      expect(client.bodyText.slice((begun + piece('lo')).length)).toContain('"error":')
      expect(await proxy.line(0)).toContain(fault === 'truncated' ? 'upstream_truncated' : 'upstream_hangup')
    }
  })
})

/** Which codes a client may read for each fault; nothing: the answer is whole. */
const told: Record<FaultName, readonly (string | number)[] | undefined> = {
  good: undefined,
  splitUtf8: undefined,
  silent: ['upstream_first_byte_timeout'],
  resetBeforeHead: ['connection_reset'],
  finBeforeHead: ['connection_reset'],
  slowHead: ['upstream_first_byte_timeout'],
  headOnly: ['upstream_inactivity_timeout', 'upstream_first_byte_timeout'],
  resetMidStream: ['connection_reset'],
  finMidStream: ['connection_reset'],
  truncated: ['upstream_truncated'],
  empty: ['upstream_truncated'],
  resetAfterEnd: undefined,
  keepsOpen: undefined,
  staleConnection: undefined,
  halfEvent: ['connection_reset'],
  stalled: ['upstream_inactivity_timeout'],
  onlyComments: ['request_timeout_total'],
  pings: ['request_timeout_total'],
  drip: ['request_timeout_total'],
  flood: ['request_timeout_total'],
  endlessLine: ['upstream_event_too_large'],
  garbage: ['upstream_protocol_error'],
  badChunkSize: ['upstream_protocol_error', 'connection_reset'],
  shortBody: ['connection_reset'],
  webPage: ['upstream_protocol_error'],
  jsonError: ['upstream_error'],
  errorEvent: ['upstream_error'],
  slowError: ['upstream_inactivity_timeout'],
  // These are the upstream's own words.
  errorMidStream: [503],
  rateLimited: ['slow down'],
  serverError: ['bug'],
}

describe.each(Object.entries(told))('an upstream with the fault %s', (name, codes) => {
  test('is reported to its client in full', async () => {
    await using upstream = await startUpstream(faults[name as FaultName])
    const isEndless = ['onlyComments', 'pings', 'drip', 'flood'].includes(name)
    const timeouts = { firstByteMs: 300, inactivityMs: 300, totalMs: isEndless ? 900 : 15_000 }
    await using proxy = await startProxied(upstream.url, { timeouts })
    using client = await rawRequest({ port: proxy.port, body: chat }).finished()
    const failure = assertCleanEnding(client)
    if (codes === undefined) expect(failure).toBeUndefined()
    else expect(codes).toContain(failure?.code ?? failure?.message)
    expect(await proxy.line(0)).toMatch(/^POST \/v1\/chat\/completions "test-model": /)
  })
})

test('the upstream’s refusal goes on as it is', async () => {
  await using upstream = await startUpstream(faults.rateLimited)
  await using proxy = await startProxied(upstream.url)
  using client = await rawRequest({ port: proxy.port, body: chat }).finished()
  expect(client.status).toBe(429)
  expect(client.header('retry-after')).toBe('7')
  expect(client.bodyText).toBe('{"error":{"message":"slow down"}}')
  expect(await proxy.line(0)).toContain('upstream_error, status 429')
})

describe('an error response that a client could not read', () => {
  const status = '500 Internal Server Error'
  const type = `${json}\r\nRetry-After: 7`
  const large = JSON.stringify({ error: { message: 'x'.repeat(100_000) } })

  test.each<[string, UpstreamScript]>([
    ['breaks', (exchange) => exchange.open(type, status).chunk('{"error":').reset()],
    ['has no end', (exchange) => exchange.open(type, status).chunk(large)],
  ])('since its body %s, has its status, and JSON', async (_what, script) => {
    await using upstream = await startUpstream(script)
    await using proxy = await startProxied(upstream.url)
    using client = await rawRequest({ port: proxy.port, body: chat }).finished()
    expect(client.status).toBe(500)
    expect(client.header('retry-after')).toBe('7')
    expect(client.body.complete).toBe(true)
    expect(client.json.error).toMatchObject({ code: 'upstream_error' })
    expect(await proxy.line(0)).toContain('upstream_error, status 500')
    await expect.poll(() => upstream.openConnections).toBe(0)
  })

  test('is held until it is whole, and keeps its bytes', async () => {
    const bytes = gzipSync('{"error":{"message":"bug"}}')
    await using upstream = await startUpstream((exchange) =>
      exchange.open(`${json}\r\nContent-Encoding: gzip`, status).chunk(bytes.subarray(0, 9)),
    )
    await using proxy = await startProxied(upstream.url)
    using client = rawRequest({ port: proxy.port, body: chat })
    const exchange = await upstream.exchange(0)
    exchange.chunk(bytes.subarray(9)).end()
    await client.finished()
    expect(client.status).toBe(500)
    expect(client.header('content-encoding')).toBe('gzip')
    expect(client.header('content-length')).toBe(String(bytes.length))
    expect(client.body.bytes).toEqual(bytes)
  })
})

test('a refusal that is a page becomes one that a client of an API can read', async () => {
  await using upstream = await startUpstream((exchange) =>
    exchange.answer('503 Busy', '<h1>Oops</h1>', 'Content-Type: text/html\r\nRetry-After: 7'),
  )
  await using proxy = await startProxied(upstream.url)
  using client = await rawRequest({ port: proxy.port, body: chat }).finished()
  expect(client.status).toBe(503)
  expect(client.header('retry-after')).toBe('7')
  expect(client.json.error.message).toMatch(/^The upstream responded with status 503\./)
  using page = await rawRequest({ port: proxy.port, method: 'GET', path: '/' }).finished()
  expect(page.bodyText).toBe('<h1>Oops</h1>')
})

test('a stream that comes while the server shuts down is refused, and its upstream let go', async () => {
  await using upstream = await startUpstream((exchange) => {
    if (exchange.body.includes('first')) exchange.open().data(chatChunk('Hel'))
  })
  await using proxy = await startProxied(upstream.url)
  using first = await rawRequest({ port: proxy.port, body: { ...chat, user: 'first' } }).received('Hel')
  // One that has begun: its connection is not idle.
  using late = new RawClient(proxy.port)
  const body = JSON.stringify(chat)
  const headers = `Host: a\r\nContent-Length: ${body.length}\r\n`
  late.socket.write(`POST /v1/chat/completions HTTP/1.1\r\n${headers}`)
  const [socket] = (await once(proxy.server, 'connection')) as [Socket]
  await expect.poll(() => socket.bytesRead).toBeGreaterThan(0)
  const drained = drainStreams(proxy.server)
  late.socket.write(`\r\n${body}`)
  await late.received('503 Service Unavailable')
  await expect.poll(() => upstream.openConnections).toBe(1)
  const exchange = await upstream.exchange(0)
  exchange.data(...chatAnswer('lo')).end()
  await first.finished()
  expect(textOf(first.data)).toBe('Hello')
  expect(await drained).toMatchObject({ finished: 1, forced: 0 })
})

test('a tool of MCP takes as long as it takes', async () => {
  const message = { jsonrpc: '2.0', id: 1, result: {} }
  await using upstream = await startUpstream((exchange) => exchange.open())
  await using proxy = await startProxied(upstream.url)
  const headers = { 'MCP-Protocol-Version': '2025-06-18' }
  using client = rawRequest({ port: proxy.port, path: '/mcp', body: { id: 1 }, headers })
  await client.received('200 OK')
  const exchange = await upstream.exchange(0)
  exchange.data(message).end()
  await client.finished()
  expect(client.data).toEqual([JSON.stringify(message)])
})

describe('a client that waits', () => {
  test('gets headers and heartbeats while the upstream is silent, then the events', async () => {
    await using upstream = await startUpstream(() => {})
    await using proxy = await startProxied(upstream.url, { headersAfterMs: 20, heartbeatMs: 20 })
    using client = rawRequest({ port: proxy.port, body: chat })
    await client.until(() => (client.bodyText.match(/^:/gm) ?? []).length > 2)
    expect(client.status).toBe(200)
    expect(client.header('content-type')).toContain('text/event-stream')
    const exchange = await upstream.exchange(0)
    exchange
      .open()
      .data(...chatAnswer('Hel', 'lo'))
      .end()
    await client.finished()
    expect(assertCleanEnding(client)).toBeUndefined()
    expect(textOf(client.data)).toBe('Hello')
  })

  test('gets heartbeats between events', async () => {
    await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')))
    await using proxy = await startProxied(upstream.url, { heartbeatMs: 20 })
    using client = rawRequest({ port: proxy.port, body: chat })
    await client.until(() => heartbeatPattern.test(client.bodyText))
    expect(client.bodyText).toContain('Hel')
  })

  test.each<[string, UpstreamScript, string]>([
    ['a refusal', faults.rateLimited, '"code":"rate_limit_exceeded"'],
    ['JSON that is an error', faults.jsonError, '"code":"upstream_error"'],
    ['no answer', (exchange) => exchange.reset(), '"code":"connection_reset"'],
  ])('reads of %s in an event, once the headers have been sent', async (_what, script, code) => {
    await using upstream = await startUpstream(() => {})
    await using proxy = await startProxied(upstream.url, { headersAfterMs: 20, heartbeatMs: 20 })
    using client = rawRequest({ port: proxy.port, body: chat })
    await client.received('\n:')
    await script(await upstream.exchange(0))
    await client.finished()
    expect(assertCleanEnding(client)).toMatchObject({ status: 200 })
    expect(client.bodyText).toContain(code)
  })

  test('for one JSON answer gets no event, however long that takes', async () => {
    await using upstream = await startUpstream(() => {})
    await using proxy = await startProxied(upstream.url, {
      headersAfterMs: 20,
      heartbeatMs: 20,
      timeouts: { totalMs: 100 },
    })
    const body = { ...chat, stream: false }
    using client = rawRequest({ port: proxy.port, body })
    const exchange = await upstream.exchange(0)
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(client.text).toBe('')
    exchange.answer('201 Created', '{"a":1}', `${json}\r\nX-Of: upstream`)
    await client.finished()
    expect(client.status).toBe(201)
    expect(client.header('x-of')).toBe('upstream')
    expect(client.bodyText).toBe('{"a":1}')
    expect(proxy.lines).toEqual([])
  })
})

describe('requests for a stream', () => {
  /** Whether heartbeats begin before the upstream has said anything. */
  async function isSure(path: string, body: unknown, headers: Record<string, string> = {}) {
    await using upstream = await startUpstream((exchange) => {
      setTimeout(() => exchange.answer('200 OK', '{"late":true}'), 150)
    })
    await using proxy = await startProxied(upstream.url, { headersAfterMs: 10 })
    using client = rawRequest({ port: proxy.port, path, body: body as object, headers })
    await client.finished()
    return !client.bodyText.includes('{"late":true}')
  }

  const messages = [{ role: 'user', content: '{"stream":false,"model":"x"}' }]
  test.each<[string, unknown]>([
    ['/v1/chat/completions', { messages, stream: true }],
    ['/v1/chat/completions?x=1', ` \n{"a":{"stream":false},"stream" : true , "b":[1,{"stream":false}]}`],
    ['/base/v1/responses', { stream: true, input: 'x' }],
    ['/v1/messages', { stream: true, messages }],
    ['/v1beta/models/a:streamGenerateContent?alt=sse', { contents: [] }],
  ])('%s with %j does', async (path, body) => {
    expect(await isSure(path, body)).toBe(true)
  })

  test.each<[string, unknown]>([
    ['/v1/chat/completions', { messages }],
    ['/v1/chat/completions', { messages, stream: false }],
    ['/v1/chat/completions', { messages, stream: 'true' }],
    ['/v1/chat/completions', { messages: ['stream', true], metadata: { stream: true } }],
    ['/v1/chat/completions', [{ stream: true }]],
    ['/v1/chat/completions', 'stream=true'],
    ['/v1/audio/speech', { stream: true }],
    ['/v1/embeddings', { stream: true }],
    ['/v1beta/models/a:streamGenerateContent', { contents: [] }],
    ['/api/chat', { model: 'a', messages, stream: false }],
    ['/api/chat', { messages }],
  ])('%s with %j does not', async (path, body) => {
    expect(await isSure(path, body)).toBe(false)
  })

  test('only the accepted type does not either: MCP accepts both, and answers with JSON', async () => {
    const headers = { Accept: 'application/json, text/event-stream', 'MCP-Protocol-Version': '2025-06-18' }
    expect(await isSure('/mcp', { jsonrpc: '2.0', id: 1, method: 'ping' }, headers)).toBe(false)
  })

  test('a body of some megabytes is looked into as it passes', async () => {
    const picture = 'x'.repeat(4_000_000)
    const body = JSON.stringify({ messages: [{ content: picture }], model: 'é"\\', stream: true })
    await using upstream = await startUpstream((exchange) =>
      exchange
        .open()
        .data(...chatAnswer('Hi'))
        .end(),
    )
    await using proxy = await startProxied(upstream.url)
    using client = await rawRequest({ port: proxy.port, body }).finished()
    expect(textOf(client.data)).toBe('Hi')
    expect(await proxy.line(0)).toContain('"é\\"\\\\"')
    expect(upstream.exchanges[0]?.body).toBe(body)
  })
})

describe('the upstream’s headers', () => {
  test('an event stream of no known API is passed on, headers first, and heartbeats come between', async () => {
    await using upstream = await startUpstream((exchange) => exchange.open('Content-Type: text/event-stream'))
    await using proxy = await startProxied(upstream.url, { heartbeatMs: 30 })
    using client = rawRequest({ port: proxy.port, method: 'GET', path: '/news' })
    await client.received('\n:')
    expect(client.header('content-type')).toBe('text/event-stream')
    const exchange = await upstream.exchange(0)
    exchange.chunk('event: a\ndata: 1\n\n').end()
    await client.finished()
    expect(client.events).toEqual([{ id: undefined, event: 'a', data: '1' }])
    expect(client.body.complete).toBe(true)
  })

  test('one that ends without an event has ended', async () => {
    await using upstream = await startUpstream((exchange) => exchange.open().end())
    await using proxy = await startProxied(upstream.url)
    using client = await rawRequest({ port: proxy.port, method: 'GET', path: '/news' }).finished()
    expect(client.status).toBe(200)
    expect(client.events).toEqual([])
    expect(client.body.complete).toBe(true)
  })

  test('lines of a download’s progress have no deadline', async () => {
    const pull = '{"status":"pulling manifest"}\n'
    await using upstream = await startUpstream((exchange) =>
      exchange.open('Content-Type: application/x-ndjson').chunk(pull),
    )
    await using proxy = await startProxied(upstream.url)
    using client = await rawRequest({ port: proxy.port, path: '/api/pull', body: { model: 'a' } }).received(
      pull,
    )
    const exchange = await upstream.exchange(0)
    exchange.chunk('{"status":"success"}\n').end()
    await client.finished()
    expect(client.bodyText).toBe(`${pull}{"status":"success"}\n`)
    expect(client.body.complete).toBe(true)
  })

  test('a chat under another path is known by its events', async () => {
    await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')).end())
    await using proxy = await startProxied(upstream.url)
    using client = await rawRequest({ port: proxy.port, path: '/talk', body: chat }).finished()
    expect(assertCleanEnding(client)).toMatchObject({ code: 'upstream_truncated' })
  })

  test('events where Ollama’s path asks for lines go on as they are', async () => {
    const events = wire({ mine: 1 }, { mine: 2 })
    await using upstream = await startUpstream((exchange) => exchange.open().chunk(events).end())
    await using proxy = await startProxied(upstream.url)
    using client = await rawRequest({ port: proxy.port, path: '/api/chat', body: chat }).finished()
    expect(client.bodyText).toBe(events)
  })

  test('speech goes on as it is, though a stream was asked for', async () => {
    await using upstream = await startUpstream((exchange) =>
      exchange.answer('200 OK', 'ID3', 'Content-Type: audio/mpeg'),
    )
    await using proxy = await startProxied(upstream.url)
    using client = await rawRequest({ port: proxy.port, body: chat }).finished()
    expect(client.header('content-type')).toBe('audio/mpeg')
    expect(client.bodyText).toBe('ID3')
  })

  test('a JSON answer where a stream was asked for becomes one', async () => {
    const answer = { id: 'a', object: 'chat.completion', created: 1, model: 'm', choices: [] as unknown[] }
    answer.choices.push({ index: 0, message: { role: 'assistant', content: 'Hello' }, finish_reason: 'stop' })
    await using upstream = await startUpstream((exchange) =>
      exchange.answer('200 OK', JSON.stringify(answer)),
    )
    await using proxy = await startProxied(upstream.url)
    using client = await rawRequest({ port: proxy.port, body: chat }).finished()
    expect(assertCleanEnding(client)).toBeUndefined()
    expect(textOf(client.data)).toBe('Hello')
  })

  test('the upstream is asked for no compression where it may stream, and elsewhere for what the client takes', async () => {
    await using upstream = await startUpstream((exchange) => exchange.answer('200 OK', '{}'))
    await using proxy = await startProxied(upstream.url)
    const headers = { 'Accept-Encoding': 'gzip' }
    using client = await rawRequest({ port: proxy.port, body: chat, headers }).finished()
    using page = await rawRequest({ port: proxy.port, method: 'GET', path: '/', headers }).finished()
    expect([client.status, page.status]).toEqual([502, 200])
    expect(upstream.exchanges[0]?.head).toMatch(/^Accept-Encoding: identity$/m)
    expect(upstream.exchanges[1]?.head).toMatch(/^Accept-Encoding: gzip$/m)
  })

  test.each<[string, (bytes: string) => Buffer]>([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
  ])('a stream that is compressed all the same (%s) is unpacked', async (encoding, pack) => {
    const zipped = pack(wire(...chatAnswer('Hel', 'lo')))
    await using upstream = await startUpstream((exchange) =>
      exchange.open(`Content-Type: text/event-stream\r\nContent-Encoding: ${encoding}`).chunk(zipped).end(),
    )
    await using proxy = await startProxied(upstream.url)
    using client = await rawRequest({ port: proxy.port, body: chat }).finished()
    expect(assertCleanEnding(client)).toBeUndefined()
    expect(textOf(client.data)).toBe('Hello')
    expect(client.header('content-encoding')).toBeUndefined()
  })

  test('one that cannot be unpacked goes on as it is', async () => {
    await using upstream = await startUpstream((exchange) =>
      exchange.answer('200 OK', 'zipped', 'Content-Type: text/event-stream\r\nContent-Encoding: unknown'),
    )
    await using proxy = await startProxied(upstream.url)
    using client = await rawRequest({ port: proxy.port, body: chat }).finished()
    expect(client.bodyText).toBe('zipped')
    expect(client.header('content-encoding')).toBe('unknown')
    expect(await proxy.line(0)).toContain('upstream_protocol')
  })
})

describe('a client that leaves', () => {
  test.each<[string, UpstreamScript, string]>([
    ['before the first event', () => {}, ''],
    ['in the middle', (exchange) => exchange.open().data(chatChunk('Hel')), 'Hel'],
  ])('%s releases the upstream', async (_when, script, seen) => {
    await using upstream = await startUpstream(script)
    await using proxy = await startProxied(upstream.url)
    using client = rawRequest({ port: proxy.port, body: chat })
    const exchange = await upstream.exchange(0)
    await client.received(seen)
    client.reset()
    await exchange.closed
    expect(await proxy.line(0)).toContain('client_gone')
  })
})
