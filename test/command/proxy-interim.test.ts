import { expect, test } from 'vitest'
import { rawRequest, startUpstream } from '../../src/testing/index.js'
import { chatAnswer, textOf } from '../support/chat.js'
import { startProxied } from '../support/proxied.js'

const chat = { model: 'a', stream: true, messages: [] }
const hints = [
  'HTTP/1.1 103 Early Hints',
  'Link: </a.css>; rel=preload; as=style, </b.js>; rel=preload',
  'Link: <https://c.example>; rel=preconnect',
  'X-Early: 1',
  'Connection: X-Hop',
  'X-Hop: 1',
]

test('a late 100 Continue does not come into a body that has begun', async () => {
  await using upstream = await startUpstream(() => {})
  await using proxy = await startProxied(upstream.url, { headersAfterMs: 20, heartbeatMs: 20 })
  using client = rawRequest({ port: proxy.port, body: chat, headers: { Expect: '100-continue' } })
  await client.received('\n:')
  const exchange = await upstream.exchange(0)
  exchange
    .raw('HTTP/1.1 100 Continue\r\n\r\n')
    .raw('HTTP/1.1 102 Processing\r\n\r\n')
    .raw(`${hints.join('\r\n')}\r\n\r\n`)
    .open()
    .data(...chatAnswer('Hel', 'lo'))
    .end()
  await client.finished()
  expect(client.text).not.toMatch(/HTTP\/1\.1 10/)
  expect(textOf(client.data)).toBe('Hello')
})

test('early hints arrive before the response, without those of their connection', async () => {
  await using upstream = await startUpstream((exchange) => exchange.raw(`${hints.join('\r\n')}\r\n\r\n`))
  await using proxy = await startProxied(upstream.url)
  using client = await rawRequest({ port: proxy.port, method: 'GET' }).received('\r\n\r\n')
  const [status, ...lines] = client.text.trimEnd().split('\r\n')
  expect(status).toBe('HTTP/1.1 103 Early Hints')
  const links = '</a.css>; rel=preload; as=style, </b.js>; rel=preload, <https://c.example>; rel=preconnect'
  expect(lines.sort()).toEqual([`Link: ${links}`, 'X-Early: 1'])
  const exchange = await upstream.exchange(0)
  exchange.answer('200 OK', '{}')
  await client.finished()
  expect(client.status).toBe(200)
})

test('102 Processing is passed on', async () => {
  await using upstream = await startUpstream((exchange) => exchange.raw('HTTP/1.1 102 Processing\r\n\r\n'))
  await using proxy = await startProxied(upstream.url)
  await rawRequest({ port: proxy.port, method: 'GET' }).received('HTTP/1.1 102 Processing\r\n\r\n')
})

test.each<[string, string, string]>([
  ['a client of HTTP/1.0', '1.0', hints.join('\r\n')],
  ['a hint that Node does not send', '1.1', 'HTTP/1.1 103 Early Hints\r\nLink: nonsense'],
  ['no hint', '1.1', 'HTTP/1.1 103 Early Hints'],
  ['an unknown status', '1.1', 'HTTP/1.1 199 New'],
])('of %s nothing comes but the response', async (_what, httpVersion, interim) => {
  await using upstream = await startUpstream((exchange) =>
    exchange.raw(`${interim}\r\n\r\n`).answer('200 OK', '{}'),
  )
  await using proxy = await startProxied(upstream.url)
  const headers = { Connection: 'close' }
  using client = await rawRequest({ port: proxy.port, method: 'GET', httpVersion, headers }).closed()
  expect(client.text).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
  expect(client.bodyText).toBe('{}')
})
