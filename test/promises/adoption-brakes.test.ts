import { once } from 'node:events'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import { expect, test } from 'vitest'
import { chatAnswer, chatChunk } from '../support/chat.js'
import { guarded, type Handler } from '../support/guarded.js'
import { rawRequest } from '../support/raw-client.js'
import { type Script, startUpstream } from '../support/scripted-upstream.js'
import { eventStream, wire } from '../support/wire.js'

const piece = wire(chatChunk('x'.repeat(30_000)))
const ending = [chatChunk('', 'stop'), '[DONE]']

/** Sends more than any buffer holds, as fast as it is read. */
const flood: Script = async (exchange) => {
  exchange.open()
  while (!exchange.socket.destroyed && !exchange.socket.writableEnded) {
    exchange.chunk(piece)
    if (exchange.socket.writableNeedDrain) await exchange.drained()
    else await new Promise(setImmediate)
  }
}

/** A handler that writes in a listener for 'data', and the response that it reads. */
function listening(url: string) {
  const seen: { answer?: IncomingMessage; chunks: number } = { chunks: 0 }
  const handler: Handler = (_request, response) =>
    http
      .request(url, { method: 'POST' }, (answer) => {
        seen.answer = answer
        response.writeHead(200, eventStream)
        answer.on('data', (chunk) => {
          seen.chunks++
          response.write(chunk)
        })
        answer.on('end', () => response.end())
      })
      .on('error', () => {})
      .end()
  return { seen, handler }
}

const stopped = (seen: { answer?: IncomingMessage }) =>
  expect.poll(() => seen.answer?.isPaused(), { timeout: 10_000 }).toBe(true)

test('a client that reads slowly: a source that is read by listeners for ‘data’ is paused, and nothing is cut', async () => {
  let sent = 0
  let isLast = false
  await using upstream = await startUpstream(async (exchange) => {
    exchange.open()
    for (; !isLast; sent++) {
      exchange.chunk(piece)
      if (exchange.socket.writableNeedDrain) await exchange.drained()
      else await new Promise(setImmediate)
    }
    exchange.data(...ending).end()
  })
  const { seen, handler } = listening(upstream.url)
  await using server = await guarded(handler, { writer: { maxBufferedBytes: 256 * 1024 } })
  using client = await rawRequest({ port: server.port, body: { stream: true } }).received('data:')
  client.socket.pause()
  await stopped(seen)
  isLast = true
  client.socket.resume()
  await client.finished()
  expect(client.body.complete).toBe(true)
  expect(client.body.bytes.length).toBe(piece.length * sent + wire(...ending).length)
})

test('an upstream that was paused for a client goes on when the client has left', async () => {
  await using upstream = await startUpstream(flood)
  const { seen, handler } = listening(upstream.url)
  await using server = await guarded(handler, { adopt: { onDisconnect: 'keep' } })
  using client = await rawRequest({ port: server.port, body: { stream: true } }).received('data:')
  client.socket.pause()
  await stopped(seen)
  client.reset()
  await expect.poll(() => server.ends).toHaveLength(1)
  const before = seen.chunks
  await expect.poll(() => seen.chunks).toBeGreaterThan(before)
})

test('a handler that paces its upstream by itself is left alone: its writes keep their order', async () => {
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
