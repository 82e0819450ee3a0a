import type { ServerResponse } from 'node:http'
import { PassThrough, Readable } from 'node:stream'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { Transcript } from '../src/dialects/transcript.js'
import { dialects, type GuardOptions, type StreamEnd, wrapApp } from '../src/index.js'
import { PassThroughRelay } from '../src/stream/pass-through.js'
import type { RelayTarget } from '../src/stream/relay-target.js'
import { NodeChunks } from '../src/upstream/node-chunks.js'
import { chatChunk, failureOf } from './support/chat.js'
import { listen, startProxy } from './support/proxy.js'
import { rawRequest } from './support/raw-client.js'

// Bytes that are one more piece of the answer and nothing else take a short way: whatever holds for others holds there.

const onTheWire = (data: unknown) =>
  Buffer.from(`data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`)
const piece = (text: string) => onTheWire(chatChunk(text))
const first = ['a', 'b', 'c'].map(piece)
const last = [onTheWire(chatChunk('', 'stop')), onTheWire('[DONE]')]

/** Lets whatever is under way arrive. */
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
        { ...options, onEnd: (record) => ended(record) },
      ),
    )
    const client = rawRequest({ port: server.port, body: { stream: true } })
    const response = await open
    await turns()
    return { client, response, ended: end, [Symbol.asyncDispose]: server[Symbol.asyncDispose] }
  }

  const timed = {
    timeouts: { inactivityMs: 1_000, stallMs: 1_000, totalMs: Number.POSITIVE_INFINITY },
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
      longestGapMs: 600,
    })
    expect(client.data.at(-1)).toBe('[DONE]')
  })

  test.each([
    ['inactivityMs', { inactivityMs: 1_000 }, 'upstream_inactivity_timeout'],
    ['stallMs', { stallMs: 1_000 }, 'upstream_stalled'],
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

  test('that does not wait for its client is told when that reads nothing', async () => {
    await using stream = await begun({ timeouts: { drainMs: 100 } })
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

  test('ends where somebody else has written the terminal event', () => {
    const forwarded: string[] = []
    class Target extends Transcript {
      readonly committed = true
      forward(bytes: Uint8Array): undefined {
        forwarded.push(String(bytes))
      }
      skipped() {}
    }
    const target = new Target(dialects.aiSdkUi)
    const passing = new PassThroughRelay(target as unknown as RelayTarget)
    const delta = (text: string) => onTheWire({ type: 'text-delta', id: '0', delta: text })
    for (const text of ['a', 'b', 'c']) expect(passing.push(delta(text))).toBeUndefined()
    expect(forwarded).toHaveLength(3)
    expect(target.observe({ data: '[DONE]' })).toBe('terminal')
    expect(passing.push(delta('d'))).toBe(false)
    expect(forwarded).toHaveLength(3)
  })
})

describe('a Node stream that hands out one piece at a time, as those of Node 26 do', () => {
  /** What is taken of these, all of which have come before the first is read. */
  async function taken(pieces: readonly (Buffer | string)[], isObjects: boolean | undefined) {
    const left = [...pieces]
    const stream = new Readable({ objectMode: isObjects !== false, read() {} })
    stream.read = () => left.shift() ?? null
    Object.defineProperty(stream, 'readableLength', { get: () => left.length })
    Object.defineProperty(stream, 'readableObjectMode', { value: isObjects })
    const chunks: unknown[] = []
    const reading = new NodeChunks(stream, undefined, {
      take(chunk) {
        chunks.push(chunk)
        return undefined
      },
    })
    reading.stop()
    await reading.taken
    return chunks
  }

  const kibibytes = (count: number) => Buffer.alloc(count * 1024, 'x')

  test('is read as one chunk, in order', async () => {
    expect(
      await taken(
        ['a', 'b', 'c'].map((text) => Buffer.from(text)),
        false,
      ),
    ).toEqual([Buffer.from('abc')])
  })

  test('up to 64 KiB', async () => {
    const sizes = (await taken([40, 40, 40, 64, 1, 1].map(kibibytes), false)).map(
      (chunk) => (chunk as Buffer).length,
    )
    expect(sizes).toEqual([80 * 1024, 104 * 1024, 2 * 1024])
  })

  test('is not copied for nothing', async () => {
    const large = kibibytes(64)
    expect((await taken([large, kibibytes(1)], false))[0]).toBe(large)
  })

  test.each([true, undefined])(
    'stays what it is where it holds objects, or does not say so: %s',
    async (isObjects) => {
      const pieces = [Buffer.from('a'), 'b', Buffer.from('c')]
      expect(await taken(pieces, isObjects)).toEqual(pieces)
    },
  )
})

describe('the clock', () => {
  const silent = async () => {
    const { TimeoutCoordinator } = await import('../src/timeouts/timeout-coordinator.js')
    const timeouts = new TimeoutCoordinator({ firstByteMs: 1_000 })
    await vi.advanceTimersByTimeAsync(1_002)
    return timeouts.reason
  }

  test('is the fake one that was there before the library', async () => {
    vi.useFakeTimers()
    vi.resetModules()
    expect(await silent()).toMatchObject({ outcome: 'timeout' })
  })

  test('is the fake one that came later', async () => {
    vi.resetModules()
    await import('../src/timeouts/timeout-coordinator.js')
    vi.useFakeTimers()
    expect(await silent()).toMatchObject({ outcome: 'timeout' })
  })
})
