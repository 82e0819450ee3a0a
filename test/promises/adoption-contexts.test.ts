import { EventEmitter, once } from 'node:events'
import http, { type ServerResponse } from 'node:http'
import http2, { type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
// @ts-expect-error: it has no types of its own
import formidable from 'formidable'
import { Agent, RetryAgent, request as undiciRequest } from 'undici'
import { describe, expect, test } from 'vitest'
import { chatAnswer, chatChunk, textOf } from '../support/chat.js'
import { guarded, type Handler } from '../support/guarded.js'
import { RawClient, rawRequest } from '../support/raw-client.js'
import { type Script, startUpstream } from '../support/scripted-upstream.js'
import { eventStream, wire } from '../support/wire.js'
import { withResolvers } from '../support/with-resolvers.js'

const post = { method: 'POST', body: '{}' } as const
const cancel = { adopt: { onDisconnect: 'cancel' } } as const
const begun: Script = (exchange) => exchange.open().data(chatChunk('Hel'))
const chunks = (body: unknown) => body as AsyncIterable<Uint8Array>

test('callbacks on a connection of undici that another request has opened: that one is cancelled, and no other', async () => {
  const dispatcher = new Agent({ connections: 1, headersTimeout: 0, bodyTimeout: 0 })
  let calls = 0
  await using upstream = await startUpstream((exchange) =>
    calls++ === 0
      ? exchange
          .open()
          .data(...chatAnswer('Hello'))
          .end()
      : begun(exchange),
  )
  await using server = await guarded(async (_request, response) => {
    const { body } = await undiciRequest(upstream.url, { ...post, dispatcher })
    response.writeHead(200, eventStream)
    body
      .on('data', (chunk) => response.write(chunk))
      .on('end', () => response.end())
      .on('error', () => {})
  }, cancel)
  using first = await rawRequest({ port: server.port, body: { stream: true } }).finished()
  expect(textOf(first.data)).toBe('Hello')
  using second = await rawRequest({ port: server.port, body: { stream: true } }).received('Hel')
  expect(upstream.connections).toBe(1)
  second.reset()
  await (await upstream.exchange(1)).closed
  await expect.poll(() => server.ends).toHaveLength(2)
  expect(server.ends[1]).toMatchObject({ outcome: 'client_gone', upstreamsLeftRunning: 0 })
})

test('a call whose context is lost is not adopted, and works as before', async () => {
  const pool = new EventEmitter()
  // As a callback of a socket that was opened at boot runs.
  const ticking = setInterval(() => pool.emit('tick'), 5)
  await using upstream = await startUpstream(begun)
  const handler: Handler = (_request, response) => {
    response.writeHead(200, eventStream).write(wire({ waiting: true }))
    pool.once('tick', () => {
      http
        .request(upstream.url, { method: 'POST' }, (answer) =>
          answer.on('data', (chunk) => response.write(chunk)),
        )
        .on('error', () => {})
        .end()
    })
  }
  await using server = await guarded(handler, cancel)
  using client = await rawRequest({ port: server.port, body: { stream: true } }).received('Hel')
  clearInterval(ticking)
  client.reset()
  await expect.poll(() => server.ends).toHaveLength(1)
  expect(server.ends[0]).toMatchObject({ outcome: 'client_gone', upstreamsLeftRunning: 0 })
  expect((await upstream.exchange(0)).socket.destroyed).toBe(false)
})

describe('an upstream over node:http2 is not adopted, and works as before', () => {
  /** A guarded proxy of an upstream that is asked over HTTP/2, and all that its handler has read so far. */
  async function overHttp2(begin: (stream: ServerHttp2Stream) => unknown) {
    const streams: ServerHttp2Stream[] = []
    const upstream = http2.createServer().on('stream', (stream) => {
      streams.push(stream)
      stream.respond({ ':status': 200, ...eventStream })
      begin(stream)
    })
    upstream.listen(0, '127.0.0.1')
    await once(upstream, 'listening')
    const session = http2.connect(`http://127.0.0.1:${(upstream.address() as AddressInfo).port}`)
    const seen = { text: '', hasEnded: false }
    const server = await guarded((_request, response) => {
      const call = session.request({ ':method': 'POST', ':path': '/' })
      response.writeHead(200, eventStream)
      call.on('data', (chunk) => {
        seen.text += chunk
        response.write(chunk)
      })
      call.on('end', () => {
        seen.hasEnded = true
        response.end()
      })
      call.end('{}')
    }, cancel)
    return {
      server,
      streams,
      seen,
      client: rawRequest({ port: server.port, body: { stream: true } }),
      async [Symbol.asyncDispose]() {
        await server[Symbol.asyncDispose]()
        session.destroy()
        upstream.close()
      },
    }
  }

  test('its events arrive', async () => {
    await using run = await overHttp2((stream) => stream.end(wire(...chatAnswer('Hello'))))
    await run.client.finished()
    expect(run.client.bodyText).toBe(wire(...chatAnswer('Hello')))
    await expect.poll(() => run.server.ends).toMatchObject([{ outcome: 'completed' }])
  })

  test('it goes on when its client has left', async () => {
    await using run = await overHttp2((stream) => stream.write(wire(chatChunk('Hel'))))
    await run.client.received('Hel')
    run.client.reset()
    await expect
      .poll(() => run.server.ends)
      .toMatchObject([{ outcome: 'client_gone', upstreamsLeftRunning: 0 }])
    run.streams[0]?.end(wire(...chatAnswer('lo')))
    await expect.poll(() => run.seen.hasEnded).toBe(true)
    expect(run.seen.text).toBe(wire(chatChunk('Hel'), ...chatAnswer('lo')))
  })
})

test('a call that is begun after the response has ended has no owner', async () => {
  await using upstream = await startUpstream(begun)
  const saved: Promise<unknown>[] = []
  await using server = await guarded(async (_request, response) => {
    response.writeHead(200, eventStream).end(wire(...chatAnswer('Hello')))
    saved.push(
      (async () => {
        let text = ''
        for await (const chunk of chunks((await fetch(upstream.url, post)).body)) text += Buffer.from(chunk)
        return text
      })(),
    )
  }, cancel)
  using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
  const exchange = await upstream.exchange(0)
  client.reset()
  exchange.data('[DONE]').end()
  expect(await saved[0]).toContain('[DONE]')
})

test('RetryAgent resumes by itself, and its client gets no error', async () => {
  const whole = wire(...chatAnswer('Hello'))
  const cut = whole.length - 20
  let calls = 0
  await using upstream = await startUpstream(async (exchange) => {
    const from = calls++ === 0 ? 0 : cut
    const range = from === 0 ? '' : `Content-Range: bytes ${from}-${whole.length - 1}/${whole.length}\r\n`
    const status = from === 0 ? '200 OK' : '206 Partial Content'
    exchange.raw(
      `HTTP/1.1 ${status}\r\nContent-Type: text/event-stream\r\nETag: "1"\r\n${range}Content-Length: ${whole.length - from}\r\n\r\n`,
    )
    exchange.raw(whole.slice(from, from === 0 ? cut : undefined))
    if (from === 0) await exchange.reset()
  })
  const dispatcher = new RetryAgent(new Agent(), { minTimeout: 10, methods: ['POST'] })
  await using server = await guarded(async (_request, response) => {
    const { body } = await undiciRequest(upstream.url, { method: 'POST', dispatcher })
    response.writeHead(200, eventStream)
    for await (const chunk of chunks(body)) response.write(chunk)
    response.end()
  })
  using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
  expect(client.bodyText).toBe(whole)
  await expect.poll(() => server.ends).toMatchObject([{ outcome: 'completed' }])
})

describe('a proxy that copies what its client accepts', () => {
  // Before Node 22 no channel reports a request before its headers are sent.
  const asked = Number.parseInt(process.versions.node, 10) >= 22 ? 'identity' : 'gzip'

  test.each<[string, object, string | undefined, string]>([
    ['asks for plain text where a stream is wanted', { stream: true }, undefined, asked],
    ['asks for what it did anywhere else', { stream: false }, undefined, 'gzip'],
    // A header that its client library has set, or signed, is no copy.
    ['asks for what it has signed', { stream: true }, 'gzip, br', 'gzip, br'],
  ])('%s', async (_what, body, own, wanted) => {
    await using upstream = await startUpstream((exchange) => exchange.answer('200 OK', '{}'))
    await using server = await guarded((request, response) => {
      Object.assign(request, { body })
      const { 'accept-encoding': accepted } = request.headers
      const options = { method: 'POST', headers: { 'accept-encoding': own ?? String(accepted) } }
      http.request(upstream.url, options, (answer) => answer.pipe(response)).end()
    })
    using _client = await rawRequest({
      port: server.port,
      body,
      headers: { 'Accept-Encoding': 'gzip' },
    }).finished()
    expect((await upstream.exchange(0)).head).toContain(`accept-encoding: ${wanted}`)
  })

  test.each<[string, (response: ServerResponse, other: ServerResponse) => unknown]>([
    ['once it has written to another response', (_response, other) => other.write(': from the first\n\n')],
    [
      'once it has ended its own',
      (response) => response.setHeader('Content-Type', 'application/json').end('{}'),
    ],
  ])('asks for what it did %s', async (_when, act) => {
    const others = withResolvers<ServerResponse>()
    await using upstream = await startUpstream((exchange) => exchange.answer('200 OK', '{}'))
    await using server = await guarded(async (request, response) => {
      if (request.url === '/other') {
        response.writeHead(200, eventStream).write(': here\n\n')
        return others.resolve(response)
      }
      await act(response, await others.promise)
      const { 'accept-encoding': accepted } = request.headers
      http
        .request(upstream.url, { method: 'POST', headers: { 'accept-encoding': accepted } }, (answer) =>
          answer.resume(),
        )
        .end()
    })
    using _other = await rawRequest({ port: server.port, path: '/other', body: { stream: true } }).received(
      'here',
    )
    const headers = { 'Accept-Encoding': 'gzip' }
    using _client = rawRequest({ port: server.port, body: { stream: true }, headers })
    expect((await upstream.exchange(0)).head).toContain('accept-encoding: gzip')
  })
})

test('an object that is derived from the request emits its events', async () => {
  const heard: string[] = []
  await using server = await guarded((request, response) => {
    const derived = Object.create(request) as typeof request
    derived.on('mine', () => heard.push('mine'))
    derived.emit('mine')
    response.writeHead(200, eventStream).end(wire(...chatAnswer('Hi')))
  })
  using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
  expect(textOf(client.data)).toBe('Hi')
  expect(heard).toEqual(['mine'])
})

test('formidable, with a body that comes in pieces: the call that follows is adopted', async () => {
  await using upstream = await startUpstream(begun)
  const requested = withResolvers()
  await using server = await guarded((request, response) => {
    requested.resolve()
    formidable({}).parse(request, (_error: unknown, fields: Record<string, string[]>) => {
      http
        .request(upstream.url, { method: 'POST' }, (answer) => {
          response.writeHead(200, eventStream).write(`: ${fields.text}\n\n`)
          answer.on('data', (chunk) => response.write(chunk))
        })
        .on('error', () => {})
        .end()
    })
  }, cancel)
  const part = '--limit\r\nContent-Disposition: form-data; name="text"\r\n\r\nspoken\r\n'
  const head = 'Host: x\r\nContent-Type: multipart/form-data; boundary=limit\r\nTransfer-Encoding: chunked'
  const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`
  using client = new RawClient(server.port)
  client.socket.write(`POST /v1/chat/completions HTTP/1.1\r\n${head}\r\n\r\n${chunk(part)}`)
  await requested.promise
  client.socket.write(`${chunk('--limit--\r\n')}0\r\n\r\n`)
  await client.received('spoken')
  await client.received('Hel')
  client.reset()
  await (await upstream.exchange(0)).closed
  await expect.poll(() => server.ends).toMatchObject([{ outcome: 'client_gone', upstreamsLeftRunning: 0 }])
})
