import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { describe, expect, test } from 'vitest'
import type { ProxySettings } from '../../src/command/proxy/settings.js'
import { RawClient, type RawRequest, rawRequest, startUpstream } from '../../src/testing/index.js'
import { turns } from '../support/broken-upstream.js'
import { echoOf, headerOf, startEcho } from '../support/echo.js'
import { startOrigin } from '../support/origin.js'
import { startProxied } from '../support/proxied.js'
import { listen, listenOn } from '../support/proxy.js'
import { withResolvers } from '../support/with-resolvers.js'

const upgrade = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Key': 'x' }
const switching = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'

describe('an upgrade', () => {
  test('is piped through, both ways', async () => {
    await using origin = await startOrigin()
    await using proxy = await startProxied(origin.url)
    using client = rawRequest({ port: proxy.port, method: 'GET', path: '/socket', headers: upgrade })
    await client.received('hello ')
    expect(client.head).toMatch(/^HTTP\/1\.1 101 Switching Protocols\r\n/)
    expect(client.header('upgrade')).toBe('websocket')
    const bytes = randomBytes(300_000)
    client.socket.write(bytes)
    await client.until(() => client.bytes.includes(bytes.subarray(-20)))
    expect(client.bytes.includes(bytes)).toBe(true)
    client.socket.end()
    await client.closed()
  })

  test('brings all that was sent before the end, to a slow client, too', async () => {
    const bytes = randomBytes(8_000_000)
    const server = createServer()
    server.on('upgrade', (_request, socket) => {
      socket.write(switching)
      socket.end(bytes)
    })
    await using upstream = await listenOn(server)
    await using proxy = await startProxied(upstream.url)
    using client = await rawRequest({ port: proxy.port, method: 'GET', headers: upgrade }).received('101')
    client.socket.pause()
    await new Promise((resolve) => setTimeout(resolve, 200))
    client.socket.resume()
    await client.closed()
    expect(client.bytes.subarray(-bytes.length).equals(bytes)).toBe(true)
  })

  test('announces no trailer, which it cannot have', async () => {
    await using origin = await startOrigin()
    await using proxy = await startProxied(origin.url)
    const headers = { ...upgrade, Trailer: 'X-Sum' }
    using client = await rawRequest({ port: proxy.port, method: 'GET', headers }).received('hello ')
    expect(client.status).toBe(101)
  })

  test('that cannot even be begun is refused, and so is the next one', async () => {
    // No command line lets this through.
    await using proxy = await startProxied('http://a', { upstream: new URL('ftp://127.0.0.1') })
    for (const path of ['/first', '/second']) {
      using client = await rawRequest({ port: proxy.port, method: 'GET', path, headers: upgrade }).closed()
      expect(client.status).toBe(500)
      expect(client.json.error.code).toBe('internal_error')
    }
  })

  test('that the upstream refuses is refused', async () => {
    await using upstream = await listen((_request, response) => response.writeHead(426).end('no'))
    await using proxy = await startProxied(upstream.url)
    using client = await rawRequest({ port: proxy.port, method: 'GET', headers: upgrade }).closed()
    expect(client.status).toBe(426)
    expect(client.bodyText).toBe('no')
  })

  test('that the upstream refuses is refused with its whole body, also for a client that has said all', async () => {
    const answered = withResolvers()
    const body = 'no'.repeat(100)
    await using upstream = await listen(async (_request, response) => {
      response.writeHead(426).write('no')
      await answered.promise
      response.end(body)
    })
    await using proxy = await startProxied(upstream.url)
    using client = await rawRequest({ port: proxy.port, method: 'GET', headers: upgrade }).received('no')
    client.socket.end()
    await turns(50)
    answered.resolve()
    await client.closed()
    expect(client.bodyText).toBe(`no${body}`)
  })

  test('of an upstream that is not there is an error', async () => {
    const upstream = await startEcho()
    await upstream[Symbol.asyncDispose]()
    await using proxy = await startProxied(upstream.url)
    using client = await rawRequest({ port: proxy.port, method: 'GET', headers: upgrade }).closed()
    expect(client.status).toBe(503)
    expect(client.json.error.type).toBe('server_error')
  })

  test('to HTTP/2 is left out: the request has a response, body and all, and so has the next one', async () => {
    await using upstream = await startEcho()
    await using proxy = await startProxied(upstream.url)
    const headers = {
      Connection: 'Upgrade, HTTP2-Settings',
      Upgrade: 'h2c',
      'HTTP2-Settings': 'AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA',
    }
    const body = 'x'.repeat(200_000)
    using client = rawRequest({ port: proxy.port, headers, body: `first ${body}` })
    await client.finished()
    const echo = echoOf(client)
    expect(echo.body).toBe(`first ${body}`)
    expect(headerOf(echo, 'upgrade')).toEqual([])
    client.send({ method: 'GET', path: '/next' })
    await client.received('"url":"/next"')
  })

  test('whose client closes while it waits lets the upstream go', async () => {
    await using upstream = await startUpstream(() => {})
    await using proxy = await startProxied(upstream.url)
    using client = rawRequest({ port: proxy.port, method: 'GET', headers: upgrade })
    const exchange = await upstream.exchange(0)
    client.socket.end('early')
    await exchange.closed
    await client.closed()
    expect(client.text).toBe('')
  })

  test('brings what its client sends while it waits', async () => {
    const asked = withResolvers<Duplex>()
    const server = createServer().on('upgrade', (_request, socket) => asked.resolve(socket))
    await using upstream = await listenOn(server)
    await using proxy = await startProxied(upstream.url)
    const accepted = once(proxy.server, 'connection') as Promise<[Socket]>
    using client = rawRequest({ port: proxy.port, method: 'GET', headers: upgrade })
    const [socket] = await accepted
    const waiting = await asked.promise
    const before = socket.bytesRead
    const bytes = randomBytes(300_000)
    client.socket.write(bytes)
    await expect.poll(() => socket.bytesRead).toBeGreaterThan(before)
    waiting.write(switching)
    waiting.pipe(waiting)
    await client.until(() => client.bytes.includes(bytes.subarray(-20)))
    expect(client.bytes.includes(bytes)).toBe(true)
  })

  test('ends with its client', async () => {
    const server = createServer()
    const gone = new Promise((resolve) => {
      server.on('upgrade', (_request, socket) => {
        socket.on('end', () => resolve(socket.end())).on('error', resolve)
        socket.write(switching)
        socket.resume()
      })
    })
    await using upstream = await listenOn(server)
    await using proxy = await startProxied(upstream.url)
    using client = await rawRequest({ port: proxy.port, method: 'GET', headers: upgrade }).received('101')
    client.reset()
    await gone
  })
})

describe('a client that keeps its side open', () => {
  const refusing = () => listen((_request, response) => response.writeHead(426).end('no'))

  test.each<[string, number, Partial<ProxySettings>, Omit<RawRequest, 'port'>]>([
    ['CONNECT is refused', 405, {}, { method: 'CONNECT', path: 'a:443' }],
    ['upgrade is refused', 401, { key: 'k' }, { method: 'GET', headers: upgrade }],
    ['upgrade cannot be sent', 503, { upstream: new URL('http://127.0.0.1:1') }, { headers: upgrade }],
    ['upgrade is refused by the upstream', 426, {}, { method: 'GET', headers: upgrade }],
  ])('is let go when its %s', async (_what, status, settings, request) => {
    await using upstream = await refusing()
    await using proxy = await startProxied(upstream.url, settings)
    const accepted = once(proxy.server, 'connection') as Promise<[Socket]>
    const { port } = proxy
    using client = new RawClient(connect({ port, host: '127.0.0.1', allowHalfOpen: true })).send(request)
    const [socket] = await accepted
    await client.closed()
    expect(client.status).toBe(status)
    expect(client.body.complete).toBe(true)
    if (!socket.closed) await once(socket, 'close')
  })
})
