import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import { PassThrough } from 'node:stream'
import axios from 'axios'
import Koa from 'koa'
import { describe, expect, test } from 'vitest'
import { guardStreams as guardKoa } from '../src/adapters/koa.js'
import { type GuardOptions, type StreamEnd, wrapApp } from '../src/index.js'
import { faults, type UpstreamScript } from '../src/testing/index.js'
import { chatAnswer, chatChunk, failureOf, textOf } from './support/chat.js'
import { listen } from './support/proxy.js'
import { rawRequest } from './support/raw-client.js'
import { startUpstream } from './support/scripted-upstream.js'

const eventStream = { 'Content-Type': 'text/event-stream' }

type Write = (answer: IncomingMessage, response: ServerResponse) => void

/** What a client gets of a proxy that writes on by hand what comes. */
async function got(script: UpstreamScript, write: Write, options: GuardOptions = {}) {
  const ends: StreamEnd[] = []
  await using upstream = await startUpstream(script)
  const listener = wrapApp(
    (request, response) => {
      request.resume().on('end', () => {
        const call = http.request(upstream.url, { method: 'POST' }, (answer) => {
          response.setHeader('Content-Type', 'text/event-stream')
          write(answer, response)
        })
        call.on('error', (error) => response.destroy(error)).end()
      })
    },
    { ...options, onEnd: (end) => ends.push(end) },
  )
  await using server = await listen(listener)
  using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
  await expect.poll(() => ends).toHaveLength(1)
  return { data: client.data, end: ends[0] as StreamEnd }
}

const onChunks: Write = (answer, response) => {
  answer.on('data', (chunk) => response.write(chunk)).on('end', () => response.end())
}

const ways: [string, Write][] = [
  ['chunks', onChunks],
  ['text', (answer, response) => onChunks(answer.setEncoding('utf8'), response)],
  [
    'a stream between',
    (answer, response) => {
      const between = new PassThrough()
      answer.on('data', (chunk) => between.write(chunk)).on('end', () => between.end())
      between.pipe(response)
    },
  ],
  ['pipe() and a look at the chunks', (answer, response) => void answer.on('data', () => {}).pipe(response)],
]

describe.each(ways)('written on by hand: %s', (_way, write) => {
  test('a whole answer', async () => {
    const { data, end } = await got(faults.good, write)
    expect(textOf(data)).toBe('Hello')
    expect(end).toMatchObject({ outcome: 'completed', suppressed: [] })
  })

  test.each(['resetMidStream', 'finMidStream'] as const)('an upstream that hangs up: %s', async (fault) => {
    const { data, end } = await got(faults[fault], write)
    expect(failureOf(data).code).toBe('connection_reset')
    expect(end).toMatchObject({ outcome: 'upstream_hangup', suppressed: [] })
  })
})

test('as axios hands it out', async () => {
  await using upstream = await startUpstream(faults.resetMidStream)
  await using server = await listen(
    wrapApp(async (_request, response) => {
      const { data } = await axios.post(upstream.url, {}, { responseType: 'stream' })
      response.writeHead(200, eventStream)
      onChunks(data, response)
    }),
  )
  using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
  expect(failureOf(client.data).code).toBe('connection_reset')
})

test('into a body of Koa', async () => {
  await using upstream = await startUpstream(faults.finMidStream)
  const app = new Koa().use(guardKoa()).use((context) => {
    const body = new PassThrough()
    context.type = 'text/event-stream'
    context.body = body
    http
      .get(upstream.url, (answer) => {
        answer.on('data', (chunk) => body.write(chunk)).on('end', () => body.end())
      })
      .on('error', () => {})
  })
  await using server = await listen(app.callback())
  using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
  expect(failureOf(client.data).code).toBe('connection_reset')
})

test('a handler that looks out for it may have another upstream', async () => {
  await using other = await startUpstream((exchange) =>
    exchange
      .open()
      .data(...chatAnswer('lo'))
      .end(),
  )
  const { data, end } = await got(
    (exchange) => exchange.open().data(chatChunk('Hel')).fin(),
    (answer, response) => {
      answer.on('data', (chunk) => response.write(chunk))
      answer.on('aborted', () => http.get(other.url, (second) => onChunks(second, response)))
    },
  )
  expect(textOf(data)).toBe('Hello')
  expect(end.outcome).toBe('completed')
})

test('an answer that several responses share goes on when one of their clients leaves', async () => {
  const responses: ServerResponse[] = []
  await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('a')))
  await using server = await listen(
    wrapApp((_request, response) => {
      responses.push(response.writeHead(200, eventStream))
      if (responses.length < 2) return
      http.get(upstream.url, (answer) => {
        answer.on('data', (chunk) => {
          for (const each of responses) each.write(chunk)
        })
        answer.on('end', () => {
          for (const each of responses) each.end()
        })
      })
    }),
  )
  using first = rawRequest({ port: server.port, body: { stream: true } })
  using second = rawRequest({ port: server.port, body: { stream: true } })
  await Promise.all([first.received('"a"'), second.received('"a"')])
  first.reset()
  await new Promise((resolve) => responses[0]?.once('close', resolve))
  const exchange = await upstream.exchange(0)
  exchange.data(...chatAnswer('b')).end()
  await second.finished()
  expect(textOf(second.data)).toBe('ab')
})
