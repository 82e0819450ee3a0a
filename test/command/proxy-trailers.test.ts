import { describe, expect, test } from 'vitest'
import { RawClient, rawRequest, startUpstream } from '../../src/testing/index.js'
import { chatAnswer, textOf } from '../support/chat.js'
import { echoOf, headerOf, startEcho } from '../support/echo.js'
import { startProxied } from '../support/proxied.js'
import { wire } from '../support/wire.js'

const announced = 'Trailer: X-Sum'
const chunked = `${announced}\r\nTransfer-Encoding: chunked`
const ended = '3\r\nabc\r\n0\r\nX-Sum: 7\r\nX-Sum: 8\r\n\r\n'

describe('a request', () => {
  test('in chunks keeps its trailers, repeated ones, too', async () => {
    await using upstream = await startEcho()
    await using proxy = await startProxied(upstream.url)
    using client = new RawClient(proxy.port)
    client.socket.write(`DELETE /x HTTP/1.1\r\nHost: a\r\n${chunked}\r\n\r\n${ended}`)
    const echo = echoOf(await client.finished())
    expect(echo).toMatchObject({ body: 'abc', rawTrailers: ['X-Sum', '7', 'X-Sum', '8'] })
    expect(headerOf(echo, 'trailer')).toEqual(['X-Sum'])
  })

  test.each([
    ['GET', undefined],
    ['POST', 'abc'],
  ])('of %s that has none announces none', async (method, body) => {
    await using upstream = await startEcho()
    await using proxy = await startProxied(upstream.url)
    const headers = { Trailer: 'X-Sum' }
    using client = await rawRequest({ port: proxy.port, method, headers, body }).finished()
    expect(client.status).toBe(200)
    expect(echoOf(client).body).toBe(body ?? '')
    expect(headerOf(echoOf(client), 'trailer')).toEqual([])
  })
})

describe('a response', () => {
  test('in chunks keeps its trailers, repeated ones, too', async () => {
    await using upstream = await startUpstream((exchange) =>
      exchange.raw(`HTTP/1.1 200 OK\r\n${chunked}\r\n\r\n${ended}`),
    )
    await using proxy = await startProxied(upstream.url)
    using client = await rawRequest({ port: proxy.port, method: 'GET' }).received('8\r\n\r\n')
    expect(client.header('trailer')).toBe('X-Sum')
    expect(client.text).toMatch(/\r\nX-Sum: 7\r\nX-Sum: 8\r\n\r\n$/)
  })

  test.each<[string, string, string, string, string]>([
    ['a client of HTTP/1.0', 'GET', '1.0', '200 OK', `${chunked}\r\n\r\n${ended}`],
    ['HEAD', 'HEAD', '1.1', '200 OK', `${chunked}\r\n\r\n`],
    ['a length', 'GET', '1.1', '200 OK', `${announced}\r\nContent-Length: 3\r\n\r\nabc`],
    ['no body', 'GET', '1.1', '304 Not Modified', `${announced}\r\n\r\n`],
  ])('with %s announces none', async (_what, method, httpVersion, status, rest) => {
    await using upstream = await startUpstream((exchange) =>
      exchange.raw(`HTTP/1.1 ${status}\r\nX-Of: upstream\r\n${rest}`),
    )
    await using proxy = await startProxied(upstream.url)
    const headers = { Connection: 'close' }
    using client = await rawRequest({ port: proxy.port, method, httpVersion, headers }).closed()
    expect(client.head).toContain(`HTTP/1.1 ${status}`)
    expect(client.header('x-of')).toBe('upstream')
    expect(client.header('trailer')).toBeUndefined()
    expect(client.bodyText).toBe(rest.includes('abc') ? 'abc' : '')
  })

  test.each(['1.0', '1.1'])('that is a stream announces none, over HTTP/%s', async (httpVersion) => {
    await using upstream = await startUpstream((exchange) =>
      exchange
        .open(`Content-Type: text/event-stream\r\n${announced}`)
        .chunk(wire(...chatAnswer('Hel', 'lo')))
        .end(),
    )
    await using proxy = await startProxied(upstream.url)
    const body = { model: 'a', stream: true, messages: [] }
    const headers = { Connection: 'close' }
    using client = await rawRequest({ port: proxy.port, httpVersion, headers, body }).closed()
    expect(client.status).toBe(200)
    expect(textOf(client.data)).toBe('Hello')
    expect(client.header('trailer')).toBeUndefined()
  })

  test('that refuses a stream announces none', async () => {
    const json = '{"error":{"message":"slow down"}}'
    await using upstream = await startUpstream((exchange) =>
      exchange.open(`Content-Type: application/json\r\n${announced}`, '429 Slow').chunk(json).end(),
    )
    await using proxy = await startProxied(upstream.url)
    const body = { model: 'a', stream: true, messages: [] }
    using client = await rawRequest({ port: proxy.port, body }).finished()
    expect(client.status).toBe(429)
    expect(client.bodyText).toBe(json)
  })

  test('to an upgrade announces none', async () => {
    await using upstream = await startUpstream((exchange) =>
      exchange.raw(`HTTP/1.1 426 No\r\n${chunked}\r\n\r\n${ended}`),
    )
    await using proxy = await startProxied(upstream.url)
    const headers = { Connection: 'Upgrade', Upgrade: 'websocket' }
    using client = await rawRequest({ port: proxy.port, method: 'GET', headers }).closed()
    expect(client.status).toBe(426)
    expect(client.header('trailer')).toBeUndefined()
    expect(client.bodyText).toBe('abc')
  })
})
