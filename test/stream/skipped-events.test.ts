import { PassThrough, Readable } from 'node:stream'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Transcript } from '../../src/dialects/transcript.js'
import { encodeEvent } from '../../src/framing/sse/encode.js'
import { sse } from '../../src/framing/sse/index.js'
import { dialects, type SSEEvent, type StreamContext, wrapApp } from '../../src/index.js'
import { relayInto } from '../../src/stream/relay.js'
import type { EventSink, RelayTarget } from '../../src/stream/relay-target.js'
import type { UpstreamSource } from '../../src/upstream/source.js'
import { chatAnswer, chatChunk, failureOf, textOf } from '../support/chat.js'
import { chatEvent } from '../support/dialect-events.js'
import { listen, startProxy } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'

describe('the bytes of a mapped event are those of the encoder', () => {
  /** A place to translate into that keeps the texts. */
  class KeptText implements RelayTarget, EventSink {
    text = ''
    readonly committed = true
    readonly sink = this
    readonly clock = { touch() {}, content() {} }
    readonly dialect = undefined
    readonly transcript = new Transcript(dialects.openaiChat)
    readonly stopSignal = {
      aborted: false,
      reason: undefined,
      addEventListener() {},
      removeEventListener() {},
    }
    open(source: UpstreamSource | PromiseLike<UpstreamSource>) {
      return source
    }
    follow = () => sse
    encode = encodeEvent
    observe(event: SSEEvent) {
      return this.transcript.observe(event)
    }
    accept(events: Uint8Array | string) {
      this.text += String(events)
      return undefined
    }
    write() {
      return undefined
    }
    relayed() {}
  }

  async function translated(events: readonly SSEEvent[]): Promise<string> {
    const kept = new KeptText()
    const source = Readable.from(events.map((_event, index) => Buffer.from(`data: ${index}\n\n`)))
    await relayInto(kept, source, { map: ({ data }) => events[Number(data)] })
    return kept.text
  }

  const json = (event: SSEEvent) => JSON.parse(event.data as string)
  const spaced = fc.tuple(chatEvent, fc.constantFrom(0, 0, 0, 1)).map(([event, spaces]) => {
    try {
      return { data: JSON.stringify(json(event), null, spaces) }
    } catch {
      return event
    }
  })
  const separated = fc
    .constantFrom('one\u2028', 'two\u2028', '\u2029', 'x\u0085', 'y\u0085', 'plain', 'text')
    .map((said) => ({ data: JSON.stringify(chatChunk(said)) }))

  test.each([
    ['on one line or several', spaced],
    ['with what only some take for line ends', separated],
  ])('%s', async (_name, event) => {
    await fc.assert(
      fc.asyncProperty(fc.array(event, { maxLength: 12 }), async (events) => {
        const stream = dialects.openaiChat.follow()
        const roles = events.map((each) => stream.observe(each))
        const end = roles.indexOf('terminal')
        fc.pre(!roles.includes('error'))
        const written = end === -1 ? events : events.slice(0, end + 1)
        expect(await translated(written)).toBe(written.map(encodeEvent).join(''))
      }),
      { numRuns: 500 },
    )
  })
})

describe('an event is skipped only while the state of its stream allows it', () => {
  const wire = (...events: unknown[]) =>
    events.map((event) => `data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`).join('')
  const said = ['a', 'b', 'c', 'd'].map((text) => wire(chatChunk(text)))
  const finish = wire(chatChunk('', 'stop'))

  test('a handler whose finish event comes in two pieces, and that goes on and stops short', async () => {
    await using server = await listen(
      wrapApp((_request, response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        for (const text of said) response.write(text)
        response.write(finish.slice(0, 40))
        response.write(finish.slice(40))
        response.write(said[0])
        response.end()
      }),
    )
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(failureOf(client.data)).toMatchObject({ code: 'upstream_truncated' })
  })

  test('two relays at once, of which one says that all is done', async () => {
    const first = new PassThrough()
    const second = new PassThrough()
    await using proxy = await startProxy(async (stream) => {
      const relays = [stream.relay(first), stream.relay(second)]
      for (const text of said) {
        first.write(text)
        await new Promise(setImmediate)
      }
      second.write(finish)
      await new Promise(setImmediate)
      first.write(said[0])
      await new Promise(setImmediate)
      first.destroy(Object.assign(new Error('reset'), { code: 'ECONNRESET' }))
      await Promise.all(relays)
    })
    using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
    expect(failureOf(client.data)).toMatchObject({ code: 'connection_reset' })
  })
})

describe('events with long members that stay the same', () => {
  const image = 'A'.repeat(100_000)
  const chunk = (content: string) => {
    const { choices, ...head } = chatChunk(content)
    return { ...head, choices: [{ ...choices[0], delta: { content, images: [image] } }] }
  }
  const events = [...['a', 'b', 'c', 'd', 'e'].map(chunk), ...chatAnswer()]
  const wire = events.map((event) => `data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`)
  const source = () => Readable.from(wire.map((text) => Buffer.from(text)))

  test.each<[string, (stream: StreamContext) => unknown]>([
    ['relayed', (stream) => stream.relay(source())],
    ['mapped', (stream) => stream.relay(source(), ({ data }) => ({ data }))],
    [
      'written',
      async ({ writer, read }) => {
        for await (const { data } of read(source())) await writer.write({ data })
      },
    ],
  ])('%s', async (_name, handler) => {
    await using proxy = await startProxy(handler)
    using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
    expect(textOf(client.data)).toBe('abcde')
    expect(await proxy.end()).toMatchObject({ outcome: 'completed' })
  })
})

test('an event with millions of escapes', () => {
  const followed = new Transcript(dialects.openaiChat)
  const chat = (content: string) => JSON.stringify(chatChunk(content))
  for (const said of ['a', 'b', 'c']) followed.observe({ data: chat(said) })
  expect(followed.observe({ data: chat('\n'.repeat(4_000_000)) })).toBe('content')
  expect(followed.observe({ data: '[DONE]' })).toBe('terminal')
})
