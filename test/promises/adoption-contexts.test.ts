import { EventEmitter, once } from 'node:events'
import http, { type ServerResponse } from 'node:http'
import { Agent, RetryAgent, request as undiciRequest } from 'undici'
import { describe, expect, test } from 'vitest'
import { chatAnswer, chatChunk, textOf } from '../support/chat.js'
import { guarded, type Handler } from '../support/guarded.js'
import { naiveProxies } from '../support/naive-proxies.js'
import { rawRequest } from '../support/raw-client.js'
import { type Script, startUpstream } from '../support/scripted-upstream.js'
import { eventStream, wire } from '../support/wire.js'

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

test('a call that is begun after the response has ended is nobody’s', async () => {
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

test('RetryAgent resumes by itself, and its client is told of nothing', async () => {
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

test.each(['is aborted', 'breaks'])('Promise.any: a loser that %s changes nothing', async (how) => {
  await using upstream = await startUpstream((exchange) => exchange.open())
  await using server = await guarded(
    async (_request, response) => {
      const losing = new AbortController()
      const loser = await fetch(`${upstream.url}/loser`, { ...post, signal: losing.signal })
      const winner = await Promise.any([fetch(`${upstream.url}/winner`, post)])
      if (how === 'is aborted') losing.abort()
      loser.text().catch(() => {})
      response.writeHead(200, eventStream)
      for await (const chunk of chunks(winner.body)) response.write(chunk)
      response.end()
    },
    { adopt: { breakMs: 20 } },
  )
  using client = rawRequest({ port: server.port, body: { stream: true } })
  const loser = await upstream.exchange(0)
  const winner = await upstream.exchange(1)
  winner.data(chatChunk('Hel'))
  await client.received('Hel')
  if (how === 'breaks') await loser.reset()
  await loser.closed
  winner.data(...chatAnswer('lo')).end()
  await client.finished()
  expect(textOf(client.data)).toBe('Hello')
  expect(client.data.at(-1)).toBe('[DONE]')
  await expect.poll(() => server.ends).toMatchObject([{ outcome: 'completed' }])
})

test('a client that reads slowly: what is read by listeners for ‘data’ is paused, and nothing is cut', async () => {
  const piece = wire(chatChunk('x'.repeat(8_000)))
  const pieces = 2_000
  await using upstream = await startUpstream(async (exchange) => {
    exchange.open()
    for (let sent = 0; sent < pieces; sent++) {
      exchange.chunk(piece)
      if (exchange.socket.writableNeedDrain) await exchange.drained()
    }
    exchange.data(chatChunk('', 'stop'), '[DONE]').end()
  })
  const { to } = naiveProxies["http.request, 'data'"] as (typeof naiveProxies)[string]
  await using server = await guarded(to(upstream.url), { writer: { maxBufferedBytes: 256 * 1024 } })
  using client = rawRequest({ port: server.port, body: { stream: true } })
  await client.received('data:')
  client.socket.pause()
  const { socket } = await upstream.exchange(0)
  // The upstream has no more room: whoever reads it has stopped.
  let written = -1
  await expect
    .poll(
      () => {
        const before = written
        written = socket.bytesWritten
        return socket.writableNeedDrain && written === before
      },
      { interval: 100, timeout: 10_000 },
    )
    .toBe(true)
  client.socket.resume()
  await client.finished()
  expect(client.body.complete).toBe(true)
  expect(client.body.bytes.length).toBe(piece.length * pieces + wire(chatChunk('', 'stop'), '[DONE]').length)
})

describe('a proxy that copies what its client accepts', () => {
  // Before Node 22 nobody is told of a request before its headers are sent.
  const asked = Number.parseInt(process.versions.node, 10) >= 22 ? 'identity' : 'gzip'

  test.each<[string, object, string]>([
    ['asks for plain text where a stream is wanted', { stream: true }, asked],
    ['asks for what it did anywhere else', { stream: false }, 'gzip'],
  ])('%s', async (_what, body, wanted) => {
    await using upstream = await startUpstream((exchange) => exchange.answer('200 OK', '{}'))
    await using server = await guarded((request, response) => {
      Object.assign(request, { body })
      const { 'accept-encoding': accepted } = request.headers
      const options = { method: 'POST', headers: { 'accept-encoding': String(accepted) } }
      http.request(upstream.url, options, (answer) => answer.pipe(response)).end()
    })
    using _client = await rawRequest({
      port: server.port,
      body,
      headers: { 'Accept-Encoding': 'gzip' },
    }).finished()
    expect((await upstream.exchange(0)).head).toContain(`accept-encoding: ${wanted}`)
  })
})

test('a handler that paces its upstream by itself is not meddled with: what it writes keeps its order', async () => {
  await using upstream = await startUpstream(async (exchange) => {
    exchange.open()
    for (let sent = 0; sent < 40; sent++) {
      exchange.chunk(wire(chatChunk('x'.repeat(30_000))))
      if (exchange.socket.writableNeedDrain) await exchange.drained()
    }
    exchange.end()
  })
  let begun = 0
  /** Writes more than its client takes at once, waits for it, and has more to say. */
  const write = async (response: ServerResponse, number: number) => {
    response.write(`: begin ${number}\n\n: ${'y'.repeat(160_000)}\n\n`)
    while (response.writableNeedDrain) await once(response, 'drain')
    for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate)
    response.write(`: end ${number}\n\n`)
  }
  await using server = await guarded((_request, response) =>
    http
      .request(upstream.url, { method: 'POST' }, (answer) => {
        response.writeHead(200, eventStream)
        let written: Promise<unknown> = Promise.resolve()
        answer.on('data', () => {
          written = write(response, begun++).then(() => answer.resume())
          answer.pause()
        })
        answer.on('end', () => void written.then(() => response.end(wire(...chatAnswer('Hi')))))
      })
      .end(),
  )
  using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
  const marks = [...client.text.matchAll(/: (begin|end) (\d+)/g)].map(
    ([, mark, number]) => `${mark} ${number}`,
  )
  expect(marks.length).toBeGreaterThan(40)
  expect(marks).toEqual(
    Array.from({ length: begun }, (_, number) => [`begin ${number}`, `end ${number}`]).flat(),
  )
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
