import type { ServerResponse } from 'node:http'
import { PassThrough } from 'node:stream'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { type GuardOptions, type StreamEnd, wrapApp } from '../../src/index.js'
import { chatChunk, failureOf } from '../support/chat.js'
import { listen, startProxy } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'

// Bytes that are one more piece of the answer and nothing else take a short way: the rules for other bytes hold there.

const onTheWire = (data: unknown) =>
  Buffer.from(`data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`)
const piece = (text: string) => onTheWire(chatChunk(text))
const first = ['a', 'b', 'c'].map(piece)
const last = [onTheWire(chatChunk('', 'stop')), onTheWire('[DONE]')]

/** Lets bytes that are under way arrive. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate)
}

afterEach(() => void vi.useRealTimers())

describe('a guarded handler', () => {
  /** Its response, once the first pieces have been written, and the end of its stream. */
  async function begun(options: GuardOptions) {
    let ended: (end: StreamEnd) => void = () => {}
    const end = new Promise<StreamEnd>((resolve) => {
      ended = resolve
    })
    let opened: (response: ServerResponse) => void = () => {}
    const open = new Promise<ServerResponse>((resolve) => {
      opened = resolve
    })
    const server = await listen(
      wrapApp(
        (_request, response) => {
          response.writeHead(200, { 'content-type': 'text/event-stream' })
          for (const bytes of first) response.write(bytes)
          opened(response)
        },
        {
          ...options,
          onEnd: (record) => {
            ended(record)
            return true
          },
        },
      ),
    )
    const client = rawRequest({ port: server.port, body: { stream: true } })
    const response = await open
    await turns()
    return { client, response, ended: end, [Symbol.asyncDispose]: server[Symbol.asyncDispose] }
  }

  const timed = {
    timeouts: { inactivityMs: 1_000, upstreamStallMs: 1_000, totalMs: Number.POSITIVE_INFINITY },
    writer: { heartbeatMs: 900 },
  }

  test('is neither silent nor stalled while pieces come', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    await using stream = await begun(timed)
    for (let pieces = 0; pieces < 10; pieces++) {
      vi.advanceTimersByTime(600)
      await turns()
      stream.response.write(piece(`piece ${pieces}`))
    }
    for (const bytes of last) stream.response.write(bytes)
    stream.response.end()
    using client = await stream.client.finished()
    expect(await stream.ended).toMatchObject({
      outcome: 'completed',
      heartbeats: 0,
      events: 15,
      maxGapMs: 600,
    })
    expect(client.data.at(-1)).toBe('[DONE]')
  })

  test.each([
    ['inactivityMs', { inactivityMs: 1_000 }, 'upstream_inactivity_timeout'],
    ['upstreamStallMs', { upstreamStallMs: 1_000 }, 'upstream_stalled'],
  ])('is when they stop: %s', async (_name, timeouts, code) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    await using stream = await begun({ timeouts })
    vi.advanceTimersByTime(600)
    stream.response.write(piece('one more'))
    await turns()
    vi.advanceTimersByTime(1_001)
    await turns()
    using client = await stream.client.finished()
    expect(failureOf(client.data)).toMatchObject({ code })
  })

  test('that does not wait for its client gets an error when that reads nothing', async () => {
    await using stream = await begun({ timeouts: { clientStallMs: 100 } })
    stream.client.socket.pause()
    for (let pieces = 0; pieces < 50_000; pieces++) stream.response.write(piece('x'.repeat(100)))
    expect(await stream.ended).toMatchObject({ outcome: 'client_stalled' })
    stream.client.reset()
  })

  test('may have begun an event in another write', async () => {
    await using stream = await begun({})
    stream.response.write(Buffer.from('event: message\n'))
    stream.response.write(piece('named'))
    stream.response.destroy(new Error('broken'))
    using client = await stream.client.finished()
    expect(client.data.at(-2) ?? '').toContain('named')
    expect(failureOf(client.data)).toBeDefined()
    expect(client.body.bytes.toString()).not.toContain('\n\n\n')
  })
})

describe('a relay', () => {
  test('keeps what has begun before it', async () => {
    const upstream = new PassThrough()
    await using proxy = await startProxy((stream) => stream.relay(upstream))
    const request = rawRequest({ port: proxy.port, body: { stream: true } })
    const sent = [...first, Buffer.from(': a comment '), piece('commented out'), piece('d'), ...last]
    for (const bytes of sent) {
      upstream.write(bytes)
      await turns()
    }
    using client = await request.finished()
    expect(client.body.bytes.toString()).toBe(Buffer.concat(sent).toString())
  })
})
