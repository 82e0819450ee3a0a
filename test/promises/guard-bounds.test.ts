import { PassThrough } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, test, vi } from 'vitest'
import { chatChunk } from '../support/chat.js'
import { guarded, type Handler } from '../support/guarded.js'
import { rawRequest } from '../support/raw-client.js'
import { eventStream, wire } from '../support/wire.js'

const MiB = 1024 * 1024
const pieceLength = 100_000

const inPieces = (text: string) =>
  Array.from({ length: Math.ceil(text.length / pieceLength) }, (_, at) =>
    text.slice(at * pieceLength, (at + 1) * pieceLength),
  )

async function ask(handler: Handler, path = '/v1/chat/completions') {
  await using server = await guarded(handler)
  using client = await rawRequest({ port: server.port, path, body: { stream: true } }).finished()
  return { client, ends: server.ends }
}

describe('an event of more than 8 MiB passes through the guard', () => {
  const image = 'i'.repeat(9 * MiB)

  test.each([
    ['in one write', (text: string) => [text]],
    ['in pieces', inPieces],
  ])('%s', async (_what, cut) => {
    const body = wire(chatChunk('Hi'), chatChunk(image), '[DONE]')
    const { client, ends } = await ask((_request, response) => {
      response.writeHead(200, eventStream)
      for (const piece of cut(body)) response.write(piece)
      response.end()
    })
    expect(client.bodyText === body).toBe(true)
    expect(ends).toMatchObject([{ outcome: 'completed', events: 3, sawTerminal: true }])
  })

  test('the last event of a response with an image says that it is complete', async () => {
    const last = `event: response.completed\ndata: {"type":"response.completed","image":"${image}"}\n\n`
    const { client, ends } = await ask((_request, response) => {
      response.writeHead(200, eventStream).write(wire({ type: 'response.created', response: {} }))
      for (const piece of inPieces(last)) response.write(piece)
      response.end()
    }, '/v1/responses')
    expect(client.bodyText.endsWith(last)).toBe(true)
    expect(ends).toMatchObject([{ outcome: 'completed', events: 2, sawTerminal: true }])
  })

  test('one that is cut short is closed before the error event', async () => {
    const half = wire(chatChunk(image)).slice(0, -10)
    const { client, ends } = await ask((_request, response) => {
      response.writeHead(200, eventStream)
      for (const piece of inPieces(half)) response.write(piece)
      response.end()
    })
    expect(client.data.at(-1)).toContain('upstream_truncated')
    expect(ends).toMatchObject([{ outcome: 'upstream_truncated' }])
  })
})

describe('bytes that a client has not read yet', () => {
  const writer = { maxBufferedBytes: MiB }
  const big = wire(chatChunk('x'.repeat(20 * MiB)), '[DONE]')

  test('one large write is not a flood: a client that reads gets all of it', async () => {
    await using server = await guarded(
      (_request, response) => void response.writeHead(200, eventStream).end(big),
      {
        writer,
      },
    )
    using client = rawRequest({ port: server.port, body: { stream: true } })
    await client.finished()
    expect(client.bodyText === big).toBe(true)
    expect(server.ends).toMatchObject([{ outcome: 'completed' }])
  })

  test('nor is what follows it at once', async () => {
    await using server = await guarded(
      (_request, response) => {
        response.writeHead(200, eventStream).write(wire(chatChunk('x'.repeat(20 * MiB))))
        response.write(wire(chatChunk('', 'stop')))
        response.end(wire('[DONE]'))
      },
      { writer },
    )
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(client.bodyText.length).toBeGreaterThan(20 * MiB)
    expect(client.data.at(-1)).toBe('[DONE]')
    expect(server.ends).toMatchObject([{ outcome: 'completed' }])
  })

  test('a source that is piped waits by itself, however large its chunks', async () => {
    const source = new PassThrough({ highWaterMark: 64 * MiB })
    await using server = await guarded(
      (_request, response) => void source.pipe(response.writeHead(200, eventStream)),
      { writer },
    )
    using client = rawRequest({ port: server.port, body: { stream: true } })
    for (let count = 0; count < 3; count++) source.write(wire(chatChunk('x'.repeat(4 * MiB))))
    source.end(wire('[DONE]'))
    await client.finished()
    expect(client.bodyText.length).toBeGreaterThan(12 * MiB)
    expect(server.ends).toMatchObject([{ outcome: 'completed' }])
  })

  test('a handler that goes on writing to a client that does not read is cut', async () => {
    await using server = await guarded(
      async (_request, response) => {
        response.writeHead(200, eventStream)
        while (!response.destroyed) {
          response.write(wire(chatChunk('x'.repeat(MiB))))
          await turn()
        }
      },
      { writer },
    )
    using client = rawRequest({ port: server.port, body: { stream: true } })
    client.socket.pause()
    await vi.waitUntil(() => server.ends.length > 0, { timeout: 10_000 })
    expect(server.ends).toMatchObject([{ outcome: 'client_stalled' }])
  })
})

test('comments do not delay firstEventMs', async () => {
  const options = { timeouts: { firstByteMs: 200, firstEventMs: 300, inactivityMs: 60_000 } }
  await using server = await guarded((_request, response) => {
    response.writeHead(200, eventStream)
    const timer = setInterval(() => response.write(': processing\n\n'), 20)
    response.once('close', () => clearInterval(timer))
  }, options)
  using client = await rawRequest({
    port: server.port,
    path: '/v1/chat/completions',
    body: { stream: true },
  }).finished()
  expect(client.bodyText).toContain('"code":"upstream_first_event_timeout"')
  expect(server.ends).toMatchObject([{ phase: 'firstEvent' }])
})
