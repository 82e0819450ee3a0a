import { createHash, randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import https from 'node:https'
import { describe, expect, test } from 'vitest'
import { RawClient, rawRequest, startUpstream } from '../../src/testing/index.js'
import { certificate } from '../support/certificate.js'
import { echoOf, headerOf, startEcho } from '../support/echo.js'
import { startOrigin } from '../support/origin.js'
import { startProxied } from '../support/proxied.js'
import { listen, listenOn } from '../support/proxy.js'
import { synBlackhole } from '../support/syn-blackhole.js'
import { withResolvers } from '../support/with-resolvers.js'

describe('a request', () => {
  test.each(['GET', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'PROPFIND'])(
    '%s arrives as it is',
    async (method) => {
      await using upstream = await startEcho()
      await using proxy = await startProxied(upstream.url)
      const path = '/a%2Fb/../c?x=1&y=%20;z#'
      const body = method === 'GET' ? undefined : 'body é'
      using client = await rawRequest({ port: proxy.port, method, path, body }).finished()
      expect(client.status).toBe(200)
      expect(echoOf(client)).toMatchObject({ method, url: path, body: body ?? '' })
    },
  )

  test('whose client leaves is not reported as a failure of the upstream', async () => {
    await using upstream = await startUpstream(() => {})
    await using proxy = await startProxied(upstream.url)
    using client = rawRequest({ port: proxy.port, method: 'GET', path: '/silent' })
    await upstream.exchange(0)
    client.reset()
    expect(await proxy.line(0)).toBe('GET /silent: client_gone')
  })

  test('whose response breaks in the middle is reported as a failure of the upstream', async () => {
    await using upstream = await startUpstream(async (exchange) => {
      exchange.open('Content-Type: application/json').chunk('{"half":')
      await client.received('half')
      await exchange.reset()
    })
    await using proxy = await startProxied(upstream.url)
    using client = rawRequest({ port: proxy.port, method: 'GET', path: '/broken' })
    await client.closed()
    expect(await proxy.line(0)).toMatch(/^GET \/broken: .*ECONNRESET/)
  })

  test('goes below the path of the URL', async () => {
    await using upstream = await startEcho()
    await using proxy = await startProxied(`${upstream.url}/base/`)
    using client = await rawRequest({ port: proxy.port, method: 'GET', path: '//v1/models?x=/' }).finished()
    expect(echoOf(client).url).toBe('/base//v1/models?x=/')
  })

  test('has the upstream as Host, and says where it comes from', async () => {
    await using upstream = await startEcho()
    await using proxy = await startProxied(upstream.url)
    const headers = { Host: 'chat.example:3000', 'X-Forwarded-For': '10.0.0.1', 'X-Custom': 'Yes' }
    using client = await rawRequest({ port: proxy.port, method: 'GET', headers }).finished()
    const echo = echoOf(client)
    expect(headerOf(echo, 'host')).toEqual([new URL(upstream.url).host])
    expect(headerOf(echo, 'x-forwarded-for')).toEqual(['10.0.0.1, 127.0.0.1'])
    expect(headerOf(echo, 'x-forwarded-proto')).toEqual(['http'])
    expect(headerOf(echo, 'x-forwarded-host')).toEqual(['chat.example:3000'])
    expect(echo.rawHeaders).toContain('X-Custom')
  })

  test('keeps what is of its connection alone to itself', async () => {
    await using upstream = await startEcho()
    await using proxy = await startProxied(upstream.url)
    const headers = {
      Connection: 'keep-alive, X-Private, Content-Length',
      'X-Private': '1',
      'Keep-Alive': 'timeout=9',
      'Proxy-Authorization': 'Basic x',
      'Proxy-Connection': 'keep-alive',
      TE: 'gzip, trailers',
    }
    using client = await rawRequest({ port: proxy.port, headers, body: 'abc' }).finished()
    const echo = echoOf(client)
    for (const name of ['x-private', 'keep-alive', 'proxy-authorization', 'proxy-connection'])
      expect(headerOf(echo, name)).toEqual([])
    expect(headerOf(echo, 'te')).toEqual(['trailers'])
    expect(echo.body).toBe('abc')
  })

  test('with a body of unknown length keeps its trailers, and repeated headers', async () => {
    await using upstream = await startEcho()
    await using proxy = await startProxied(upstream.url)
    using client = new RawClient(proxy.port)
    client.socket.write(
      'DELETE /x HTTP/1.1\r\nHost: a\r\nX-Twice: 1\r\nx-twice: 2\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n' +
        '3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n',
    )
    await client.finished()
    const echo = echoOf(client)
    expect(echo).toMatchObject({ method: 'DELETE', body: 'abc', rawTrailers: ['X-Sum', '7'] })
    expect(headerOf(echo, 'x-twice')).toEqual(['1', '2'])
  })

  test('that expects 100-continue sends its body when the upstream says so, and not before', async () => {
    const server = createServer()
    server.on('checkContinue', async (request: IncomingMessage, response: ServerResponse) => {
      if (request.url === '/no') return void response.writeHead(413, { Connection: 'close' }).end('too much')
      response.writeContinue()
      response.end(String((await request.toArray()).join('')))
    })
    await using origin = await listenOn(server)
    await using proxy = await startProxied(origin.url)
    const headers = { Expect: '100-continue', 'Content-Length': '5' }
    using client = rawRequest({ port: proxy.port, path: '/yes', headers })
    await client.received('HTTP/1.1 100 Continue\r\n\r\n')
    client.socket.write('hello')
    await client.finished()
    expect(client.bodyText).toBe('hello')
    using refused = await rawRequest({ port: proxy.port, path: '/no', headers }).finished()
    expect(refused.text).not.toContain('100 Continue')
    expect(refused.status).toBe(413)
  })

  test('whose client leaves in the middle of its body does not look whole', async () => {
    const begun = withResolvers()
    const broken = withResolvers<unknown>()
    await using upstream = await listen((request) => {
      request.on('error', broken.resolve).once('data', () => begun.resolve())
    })
    await using proxy = await startProxied(upstream.url)
    using client = rawRequest({ port: proxy.port, headers: { 'Content-Length': '10' } })
    client.socket.write('half')
    await begun.promise
    client.reset()
    expect(await broken.promise).toMatchObject({ code: 'ECONNRESET' })
  })

  test('keeps the bytes of its headers', async () => {
    await using upstream = await startUpstream((exchange) => exchange.answer('200 OK', exchange.head))
    await using proxy = await startProxied(upstream.url)
    using client = new RawClient(proxy.port)
    client.socket.write('POST / HTTP/1.1\r\nHost: a\r\nX-Utf8: é\r\nContent-Length: 1\r\n\r\nx')
    await client.finished()
    expect(client.bodyText).toContain('X-Utf8: é\r\n')
  })
})

describe('a response', () => {
  test('arrives as it is', async () => {
    const body = randomBytes(100_000)
    await using upstream = await listen((_request, response) => {
      response.writeHead(
        207,
        'Many Things',
        [
          ['Set-Cookie', 'a=1'],
          ['Set-Cookie', 'b=2'],
          ['X-Case', '\u00e9'],
          ['Content-Encoding', 'br'],
          ['ETag', '"x"'],
          ['Date', 'yesterday'],
          ['Connection', 'X-Hop'],
          ['X-Hop', '1'],
        ].flat(),
      )
      response.end(body)
    })
    await using proxy = await startProxied(upstream.url)
    using client = await rawRequest({ port: proxy.port, method: 'GET' }).finished()
    expect(client.head).toMatch(/^HTTP\/1\.1 207 Many Things\r\n/)
    expect(client.head.match(/^Set-Cookie: .*$/gm)).toEqual(['Set-Cookie: a=1', 'Set-Cookie: b=2'])
    const kept = ['content-encoding', 'etag', 'date', 'x-case'].map((name) => client.header(name))
    expect(kept).toEqual(['br', '"x"', 'yesterday', '\u00e9'])
    expect(client.header('x-hop')).toBeUndefined()
    expect(client.body.bytes.equals(body)).toBe(true)
  })

  test.each([204, 304])('%i has no body', async (status) => {
    await using upstream = await listen((_request, response) => response.writeHead(status).end())
    await using proxy = await startProxied(upstream.url)
    using client = await rawRequest({ port: proxy.port, method: 'GET' }).finished()
    expect(client.status).toBe(status)
  })

  test('to HEAD keeps its length', async () => {
    await using upstream = await listen((_request, response) => {
      response.writeHead(200, { 'Content-Length': '1234' }).end()
    })
    await using proxy = await startProxied(upstream.url)
    const response = await fetch(proxy.url, { method: 'HEAD' })
    expect(response.headers.get('content-length')).toBe('1234')
  })

  test('keeps its trailers', async () => {
    await using upstream = await listen((_request, response) => {
      response.writeHead(200, { Trailer: 'X-Sum' })
      response.write('abc')
      response.addTrailers({ 'X-Sum': '7' })
      response.end()
    })
    await using proxy = await startProxied(upstream.url)
    using client = await rawRequest({ port: proxy.port, method: 'GET' }).received('X-Sum: 7\r\n\r\n')
    expect(client.status).toBe(200)
  })

  test('that breaks half-way is cut', async () => {
    await using upstream = await startUpstream((exchange) =>
      exchange.raw('HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf').reset(),
    )
    await using proxy = await startProxied(upstream.url)
    using client = await rawRequest({ port: proxy.port, method: 'GET' }).closed()
    expect(client.bodyText).toBe('half')
    expect(client.body.complete).toBe(false)
  })

  test('comes while the request is still being sent, and frees the connection', async () => {
    await using refusing = await listen((request, response) => {
      const refuse = () => response.writeHead(413, { 'Content-Length': '8' }).end('too much')
      if (request.method === 'GET') refuse()
      else request.once('data', refuse)
    })
    await using proxy = await startProxied(refusing.url)
    using client = rawRequest({ port: proxy.port, path: '/upload', headers: { 'Content-Length': '2000000' } })
    client.socket.write(Buffer.alloc(1_000_000))
    await client.received('too much')
    client.socket.write(Buffer.alloc(1_000_000))
    client.send({ method: 'GET' })
    await client.until(() => client.text.split('HTTP/1.1 413').length === 3)
  })

  test('to a big upload that Node refuses is not lost', async () => {
    await using refusing = await listen((_request, response) => response.writeHead(413).end('too much'))
    await using proxy = await startProxied(refusing.url)
    using client = rawRequest({ port: proxy.port, headers: { 'Content-Length': '9000000' } })
    client.socket.write(Buffer.alloc(9_000_000))
    await client.finished()
    expect(client.status).toBe(413)
  })

  test('is not read faster than its client reads', async () => {
    let written = 0
    await using upstream = await listen((_request, response) => {
      const more = () => {
        while (!response.destroyed && written < 200e6) {
          written += 65_536
          if (!response.write(Buffer.alloc(65_536))) return void response.once('drain', more)
        }
      }
      more()
    })
    await using proxy = await startProxied(upstream.url)
    using client = rawRequest({ port: proxy.port, method: 'GET' })
    await client.received('\r\n\r\n')
    client.socket.pause()
    // Some megabytes fit between the two: it has come to a stand when nothing more is written.
    for (let before = -1; before !== written; ) {
      before = written
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    expect(written).toBeLessThan(50e6)
  })

  test.each([
    ['is not there', undefined, 503, 'upstream_unreachable'],
    ['resets', 'reset', 503, 'connection_reset'],
    ['closes', 'fin', 503, 'connection_reset'],
  ] as const)('of an upstream that %s is an error', async (_what, how, status, code) => {
    const upstream = await startUpstream((exchange) => (how === undefined ? undefined : exchange[how]()))
    if (how === undefined) await upstream[Symbol.asyncDispose]()
    await using proxy = await startProxied(upstream.url)
    using client = await rawRequest({ port: proxy.port, method: 'GET', path: '/x?key=secret' }).finished()
    expect(client.status).toBe(status)
    expect(client.json.error.code).toBe(code)
    expect(await proxy.line(0)).toMatch(/^GET \/x: /)
    if (how !== undefined) await upstream[Symbol.asyncDispose]()
  })

  test('of https: comes, and an unknown certificate is refused', async () => {
    const server = https.createServer(certificate, (request, response) => response.end(request.headers.host))
    await using upstream = await listenOn(server as never)
    await using proxy = await startProxied(`https://localhost:${upstream.port}`)
    using refused = await rawRequest({ port: proxy.port, method: 'GET' }).finished()
    expect(refused.status).toBe(502)
  })
})

test('a file of some megabytes comes back as it went', async () => {
  await using origin = await startOrigin()
  await using proxy = await startProxied(origin.url)
  const bytes = randomBytes(5_000_000)
  const response = await fetch(`${proxy.url}/upload`, { method: 'POST', body: bytes })
  expect(await response.json()).toMatchObject({
    bytes: bytes.length,
    sha256: createHash('sha256').update(bytes).digest('hex'),
  })
})

describe('is not an open proxy', () => {
  test.each(['http://example.com/', 'https://127.0.0.1/', '*', 'example.com'])(
    '%s is refused',
    async (path) => {
      await using upstream = await startUpstream((exchange) => exchange.answer('200 OK', '{}'))
      await using proxy = await startProxied(upstream.url)
      using client = await rawRequest({ port: proxy.port, method: 'OPTIONS', path }).finished()
      expect(client.status).toBe(400)
      expect(upstream.exchanges).toEqual([])
    },
  )

  test('CONNECT is refused', async () => {
    await using upstream = await startUpstream((exchange) => exchange.answer('200 OK', '{}'))
    await using proxy = await startProxied(upstream.url)
    using client = await rawRequest({ port: proxy.port, method: 'CONNECT', path: 'example.com:443' }).closed()
    expect(client.status).toBe(405)
    expect(upstream.exchanges).toEqual([])
  })

  test('nor is an upgrade a way out', async () => {
    await using upstream = await startUpstream((exchange) => exchange.answer('200 OK', '{}'))
    await using proxy = await startProxied(upstream.url)
    const headers = { Connection: 'Upgrade', Upgrade: 'websocket' }
    const path = 'http://example.com/'
    using client = await rawRequest({ port: proxy.port, method: 'GET', path, headers }).closed()
    expect(client.status).toBe(400)
    expect(upstream.exchanges).toEqual([])
  })

  test.each([
    ['a length and chunks', 'Content-Length: 3\r\nTransfer-Encoding: chunked'],
    ['two lengths', 'Content-Length: 3\r\nContent-Length: 4'],
    ['an encoding after chunks', 'Transfer-Encoding: chunked, gzip'],
    ['a space before the colon', 'Transfer-Encoding : chunked'],
    ['a folded header', 'X-A: 1\r\n Transfer-Encoding: chunked'],
  ])('a request with %s smuggles nothing', async (_what, headers) => {
    await using upstream = await startUpstream((exchange) => exchange.answer('200 OK', '{}'))
    await using proxy = await startProxied(upstream.url)
    using client = new RawClient(proxy.port)
    const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n'
    client.socket.write(`POST / HTTP/1.1\r\nHost: a\r\n${headers}\r\n\r\n0\r\n\r\n${smuggled}`)
    client.socket.end()
    await client.closed()
    const heads = upstream.exchanges.map(({ head }) => head)
    // Either it is refused, or the bytes taken for the next request are one for every proxy.
    expect(client.text).toMatch(/^HTTP\/1\.1 400 /)
    expect(heads.join('\n')).not.toContain('/smuggled')
  })
})

test('each request has a connection of its own, and the upstream is not told that it will be closed', async () => {
  await using upstream = await startUpstream((exchange) => exchange.answer('200 OK', exchange.head))
  await using proxy = await startProxied(upstream.url)
  for (const path of ['/first', '/second']) {
    using client = await rawRequest({ port: proxy.port, method: 'GET', path }).finished()
    expect(client.bodyText).toMatch(/^Connection: keep-alive$/im)
  }
  expect(upstream.connections).toBe(2)
  await expect.poll(() => upstream.openConnections).toBe(0)
})

test('a client that leaves releases the upstream, before its head and after it', async () => {
  await using upstream = await startUpstream((exchange) => {
    if (exchange.head.startsWith('GET /later'))
      exchange.raw('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf')
  })
  await using proxy = await startProxied(upstream.url)
  using early = rawRequest({ port: proxy.port, method: 'GET', path: '/early' })
  const first = await upstream.exchange(0)
  early.reset()
  await first.closed
  using late = await rawRequest({ port: proxy.port, method: 'GET', path: '/later' }).received('half')
  late.reset()
  await (await upstream.exchange(1)).closed
})

test('a client that leaves releases the upstream of each request that waits its turn', async () => {
  await using upstream = await startUpstream((exchange) => {
    if (exchange.head.startsWith('GET /begun'))
      exchange.raw('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf')
  })
  await using proxy = await startProxied(upstream.url)
  using client = rawRequest({ port: proxy.port, method: 'GET', path: '/first' })
  client.send({ method: 'GET', path: '/second' }).send({ method: 'GET', path: '/begun' })
  const exchanges = await Promise.all([0, 1, 2].map((index) => upstream.exchange(index)))
  client.reset()
  await Promise.all(exchanges.map(({ closed }) => closed))
})

test('a response that cannot be passed on is an error, and lets its upstream go', async () => {
  await using upstream = await startUpstream((exchange) => exchange.open('X-Of: upstream', '200 O\x01K'))
  await using proxy = await startProxied(upstream.url)
  using client = await rawRequest({ port: proxy.port, method: 'GET' }).finished()
  expect(client.status).toBe(500)
  await (await upstream.exchange(0)).closed
})

test('an upstream that cannot be reached in time is given up', async () => {
  await using hole = await synBlackhole()
  await using proxy = await startProxied(`http://127.0.0.1:${hole.port}`, { timeouts: { connectMs: 50 } })
  using client = await rawRequest({ port: proxy.port, method: 'GET' }).finished()
  expect(client.status).toBe(504)
  expect(client.json.error.code).toBe('upstream_connect_timeout')
})
