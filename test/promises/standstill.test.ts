import { once } from 'node:events'
import { Agent, createServer as createTlsServer, request as httpsRequest } from 'node:https'
import { type AddressInfo, connect, createServer } from 'node:net'
import { Transform } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { watchConnect } from '../../src/index.js'
import { certificate } from '../support/certificate.js'
import { chatAnswer, chatChunk, textOf } from '../support/chat.js'
import { startProxy, upstreamClients } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'

const deadlineMs = 400

/** As a breakpoint, SIGSTOP, a migration of the machine or a long garbage collection: nothing in this process moves. */
function standStill(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2 * deadlineMs)
}

/** Longer than it takes the event loop to turn twice. */
const soon = (callback: () => void) => void setTimeout(callback, 20)

/** Stands for zlib, which unpacks in a thread. */
const unpacking = () =>
  new Transform({ transform: (chunk, _encoding, done) => soon(() => done(null, chunk)) })

describe('a standstill of the process that is longer than the deadline is not blamed on a side', () => {
  test.each([
    ['inactivity', { inactivityMs: deadlineMs }],
    ['upstreamStall', { upstreamStallMs: deadlineMs }],
    ['firstByte', { firstByteMs: deadlineMs, connectMs: deadlineMs }],
    ['firstEvent', { firstEventMs: deadlineMs, firstByteMs: deadlineMs, connectMs: deadlineMs }],
  ])('%s: what came meanwhile has still to be unpacked', async (phase, timeouts) => {
    const isBegun = phase === 'inactivity' || phase === 'upstreamStall'
    await using upstream = await startUpstream(async (exchange) => {
      exchange.open()
      if (isBegun) {
        exchange.data(chatChunk('Hel'))
        await client.received('Hel')
      }
      // From here on the system has it, and this process cannot look.
      exchange.data(...chatAnswer(isBegun ? 'lo' : 'Hello')).end()
      standStill()
    })
    await using proxy = await startProxy(
      async (stream) => {
        const answer = await upstreamClients.http(upstream.url, stream)
        await stream.relay((answer as NodeJS.ReadableStream).pipe(unpacking()))
      },
      { dialect: 'openaiChat', timeouts },
    )
    using client = rawRequest({ port: proxy.port, body: { stream: true } })
    await client.finished()
    expect(textOf(client.data)).toBe('Hello')
    expect(await proxy.end()).toMatchObject({ outcome: 'completed' })
  })

  test('connect: the handshake has still to be made', async () => {
    await using upstream = await startTlsUpstream()
    const agent = new Agent({ rejectUnauthorized: false })
    await using proxy = await startProxy(
      ({ relay, signal, deadlines }) =>
        relay(
          new Promise((resolve, reject) => {
            const request = httpsRequest(upstream.url, { agent, signal })
            request.once('socket', (socket) => socket.once('connect', standStill))
            watchConnect(request, deadlines).on('response', resolve).on('error', reject).end()
          }),
        ),
      { dialect: 'openaiChat', timeouts: { connectMs: deadlineMs } },
    )
    using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
    agent.destroy()
    expect(textOf(client.data)).toBe('Hello')
    expect(await proxy.end()).toMatchObject({ outcome: 'completed' })
  })

  test.each(['in the middle', 'at the end'])('clientStall: the client reads on, %s', async (where) => {
    const event = { data: 'x'.repeat(64 * 1024) }
    await using proxy = await startProxy(
      async ({ writer }, _request, response) => {
        const writes = Array.from({ length: 200 }, () => writer.write(event))
        if (where === 'at the end') writer.close()
        // Until the buffers of the system are full; the client is about to read on.
        for (let left = -1; left !== response.socket?.writableLength; ) {
          left = response.socket?.writableLength ?? 0
          await new Promise<void>(soon)
        }
        // Most of its time has passed when nothing moves any more.
        await new Promise((resolve) => setTimeout(resolve, 0.5 * deadlineMs))
        standStill()
        soon(() => client.socket.resume())
        await Promise.all(writes)
      },
      {
        dialect: 'plain',
        timeouts: { clientStallMs: deadlineMs },
        writer: { maxBufferedBytes: Number.POSITIVE_INFINITY },
      },
    )
    using client = rawRequest({ port: proxy.port, body: { stream: true } })
    client.socket.pause()
    await client.finished()
    expect(client.data).toHaveLength(200)
    expect(await proxy.end()).toMatchObject({ outcome: 'completed' })
  })
})

/** A TLS server that is some milliseconds away. */
async function startTlsUpstream() {
  const server = createTlsServer(certificate, (_request, response) => {
    response.setHeader('content-type', 'text/event-stream')
    for (const event of chatAnswer('Hel', 'lo')) {
      response.write(`data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`)
    }
    response.end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const distance = createServer((socket) => {
    const far = connect(port, '127.0.0.1')
    socket.pipe(unpacking()).pipe(far).pipe(socket)
    socket.on('error', () => far.destroy()).on('close', () => far.destroy())
    far.on('error', () => socket.destroy())
  })
  distance.listen(0, '127.0.0.1')
  await once(distance, 'listening')
  return {
    url: `https://127.0.0.1:${(distance.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      distance.close()
      await once(distance, 'close')
    },
  }
}
