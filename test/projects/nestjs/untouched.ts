import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import {
  type RawClient,
  type RawRequest,
  rawRequest,
  type ScriptedUpstream,
  startUpstream,
} from 'unhang/testing'
import { startProxy } from './proxy.js'

type Proxy = Awaited<ReturnType<typeof startProxy>>
let upstream: ScriptedUpstream
let bare: Proxy
let behind: Proxy

before(async () => {
  const delta = { object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content: 'Hello' } }] }
  upstream = await startUpstream((exchange) => exchange.open().data(delta, '[DONE]').end())
  ;[bare, behind] = await Promise.all([startProxy(upstream.url), startProxy(upstream.url, {})])
})

after(async () => {
  for (const each of [bare, behind, upstream]) await each[Symbol.asyncDispose]()
})

type Request = Omit<RawRequest, 'port'>

/** A response to `HEAD` has a length and no body: the connection, which is asked to close, ends it. */
const ask = ({ port }: Proxy, { headers, ...request }: Request): Promise<RawClient> =>
  rawRequest({ port, ...request, headers: { ...headers, Connection: 'close' } }).closed()

const headersOf = (client: RawClient): Record<string, string> => {
  const lines = client.head.split('\r\n').slice(1)
  const pairs = lines.map((line) => line.split(': ', 2)).map(([name, value]) => [name?.toLowerCase(), value])
  const { date: _date, ...headers } = Object.fromEntries(pairs)
  return headers
}

const file = { method: 'GET', path: '/files/tsconfig.json' }
const multipart = [
  '--edge\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n',
  `data: {"a":1}\n\n${'x'.repeat(200_000)}\r\n--edge--\r\n`,
].join('')

const upload = {
  path: '/upload',
  headers: { 'Content-Type': 'multipart/form-data; boundary=edge' },
  body: multipart,
}

/** Pages that worked before, with their status. */
const requests: [string, number, Request][] = [
  ['JSON', 200, { method: 'GET', path: '/v1/models' }],
  ['JSON that answers a POST', 201, { path: '/v1/embeddings', body: { input: 'Hello' } }],
  ['JSON to a request that wants a stream', 201, { path: '/v1/embeddings', body: { stream: true } }],
  ['a file', 200, file],
  ['a file that has not changed', 304, { ...file, headers: { 'If-None-Match': '*' } }],
  ['a range of a file', 206, { ...file, headers: { Range: 'bytes=2-11' } }],
  ['a StreamableFile', 200, { method: 'GET', path: '/report' }],
  ['a head alone', 200, { ...file, method: 'HEAD' }],
  ['a page that is not there', 404, { method: 'GET', path: '/nowhere' }],
  ['an exception', 403, { method: 'GET', path: '/forbidden' }],
  ['a body that is not JSON', 400, { path: '/v1/chat/completions', body: '{"stream":' }],
  ['an upload', 201, upload],
]

describe('the same head and body, without the guard and behind it', () => {
  for (const [name, status, request] of requests) {
    test(name, async () => {
      const clients = [await ask(bare, request), await ask(behind, request)] as const
      const [expected, seen] = clients.map((client) => ({
        head: client.head.replace(/^date: .*\r\n/im, ''),
        body: client.body.bytes.toString('latin1'),
      }))
      assert.equal(clients[0].status, status)
      assert.deepEqual(seen, expected)
    })
  }

  test('an upgrade', async () => {
    const texts: string[] = []
    for (const { port } of [bare, behind]) {
      using client = rawRequest({
        port,
        method: 'GET',
        path: '/socket',
        headers: { Connection: 'Upgrade', Upgrade: 'websocket' },
      })
      await client.received('101 ')
      client.socket.write('data: this is no stream\n\n')
      await client.received('no stream\n\n')
      texts.push(client.text)
    }
    assert.equal(texts[1], texts[0])
  })
})

describe('a good stream: the same status and body, and the headers that docs/GUARD.md names', () => {
  const streams: Record<string, Request & { status: number; last: string }> = {
    written: { path: '/v1/chat/completions', body: { stream: true }, status: 201, last: '[DONE]' },
    piped: { path: '/piped/v1/chat/completions', body: { stream: true }, status: 201, last: '[DONE]' },
    'with @Sse()': { method: 'GET', path: '/news', status: 200, last: '{"number":2}' },
  }
  for (const [name, { status, last, ...request }] of Object.entries(streams)) {
    test(name, async () => {
      using expected = await rawRequest({ port: bare.port, ...request }).finished()
      using seen = await rawRequest({ port: behind.port, ...request }).finished()
      assert.equal(expected.status, status)
      assert.equal(expected.data.at(-1), last)
      assert.equal(seen.status, status)
      assert.equal(seen.bodyText, expected.bodyText)
      const { 'x-request-id': requestId, ...headers } = headersOf(seen)
      assert.match(requestId ?? '', /^[\w-]{36}$/)
      assert.deepEqual(headers, {
        'cache-control': 'no-cache, no-transform',
        'x-accel-buffering': 'no',
        'x-content-type-options': 'nosniff',
        'keep-alive': 'timeout=5',
        ...headersOf(expected),
      })
    })
  }
})
