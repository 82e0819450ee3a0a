import { PassThrough, Readable } from 'node:stream'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Transcript } from '../src/dialects/transcript.js'
import { byteEvents } from '../src/framing/sse/byte-events.js'
import { encodeEvent } from '../src/framing/sse/encode.js'
import { FollowedBytes } from '../src/framing/sse/follow.js'
import { EventStreamParser } from '../src/framing/sse/parse.js'
import { RepeatedEvent } from '../src/framing/sse/repeats.js'
import { textEvents } from '../src/framing/sse/text-events.js'
import { dialects, type SSEEvent, type Stream, type StreamDialect, wrapApp } from '../src/index.js'
import { relayInto } from '../src/stream/relay.js'
import type { RelaySink } from '../src/stream/relay-target.js'
import type { UpstreamSource } from '../src/upstream/source.js'
import { chatAnswer, chatChunk, failureOf, textOf } from './support/chat.js'
import { listen, startProxy } from './support/proxy.js'
import { rawRequest } from './support/raw-client.js'

const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('', 'Hi', '"', '\\', '","finish_reason":"stop', '\u2028', '流式', 'x","error":{"a":"'),
)
const reason = fc.oneof({ weight: 12, arbitrary: fc.constant(null) }, fc.constantFrom('', 'stop', 'error'))

const chatEvent = fc.oneof(
  {
    weight: 12,
    arbitrary: fc
      .record({
        content: text,
        reason,
        index: fc.constantFrom(0, 0, 0, 0, 0, 1),
        id: fc.constantFrom('', 'a', 'b'),
      })
      .map(({ content, reason, index, id }) => ({
        data: JSON.stringify({ id, choices: [{ index, delta: { content }, finish_reason: reason }] }),
      })),
  },
  text.map((arguments_) => ({
    data: JSON.stringify({
      choices: [
        { index: 0, delta: { tool_calls: [{ function: { arguments: arguments_ } }] }, finish_reason: null },
      ],
    }),
  })),
  text.map((message) => ({ data: JSON.stringify({ error: { message }, choices: [] }) })),
  text.map((data) => ({ data: data.replace(/[\r\n\0]/g, ' ') })),
  fc.constantFrom({ data: '[DONE]' }, { data: JSON.stringify({ choices: [], usage: {} }) }),
)

const messageEvent = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.tuple(text, fc.constantFrom('text', 'thinking', 'partial_json')).map(([said, member]) => ({
      type: 'content_block_delta',
      index: 0,
      delta: { type: 'x', [member]: said },
    })),
  },
  text.map((said) => ({ type: 'message_delta', delta: { stop_reason: said || null } })),
  fc.constantFrom({ type: 'message_stop' }, { type: 'ping' }, { type: 'error', error: { message: 'no' } }),
)

const uiEvent = fc.oneof(
  { weight: 8, arbitrary: text.map((delta) => ({ type: 'text-delta', id: '0', delta })) },
  fc.constantFrom({ type: 'finish' }, { type: 'error', errorText: 'no' }, { type: 'start' }),
)

const named = fc
  .oneof(messageEvent, uiEvent)
  .map((json) => ({ event: json.type, data: JSON.stringify(json) }))
const kinds: [string, StreamDialect, fc.Arbitrary<SSEEvent & { data: string }>][] = [
  ['chat', dialects.openaiChat, chatEvent],
  ['messages', dialects.anthropic, named],
  ['UI messages', dialects.aiSdkUi, uiEvent.map((json) => ({ data: JSON.stringify(json) }))],
]

/** What there is to know of a stream. */
const known = (followed: Transcript) => ({
  complete: followed.complete,
  sawTerminal: followed.sawTerminal,
  reported: followed.reported?.status,
  closing: followed.closing(),
})

/** Follows events one by one, each by a parser that has seen nothing that it could repeat. */
function followEach(dialect: StreamDialect, events: readonly SSEEvent[]) {
  const stream = dialect.follow()
  const roles = events.map((event) => stream.observe(event))
  return { roles, complete: stream.complete, closing: stream.closing() }
}

describe.each(kinds)('%s: an event that is not parsed means what it says', (_name, dialect, event) => {
  test('to whoever writes it', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 20 }), (events) => {
        const followed = new Transcript(dialect)
        const expected = followEach(dialect, events)
        expect(events.map((each) => followed.observe(each))).toEqual(expected.roles)
        expect(followed.complete).toBe(expected.complete || expected.roles.includes('terminal'))
        if (!followed.sawTerminal) expect(followed.closing()).toEqual(expected.closing)
      }),
      { numRuns: 2_000 },
    )
  })

  test('to whoever passes it on', () => {
    const cuts = fc.array(fc.nat({ max: 20 }), { maxLength: 4 })
    fc.assert(
      fc.property(fc.array(event, { maxLength: 20 }), cuts, (events, at) => {
        const one = new Transcript(dialect)
        for (const each of events) one.observe(each)
        const other = new Transcript(dialect)
        let parsed = 0
        const parser = new EventStreamParser((each) => {
          parsed++
          other.observe(each)
        })
        const followedBytes = new FollowedBytes(parser, other, 1_000_000)
        const wire = events.map(({ event: name, data }) =>
          Buffer.from(`${name ? `event: ${name}\n` : ''}data: ${data}\n\n`),
        )
        const places = [...new Set([...at.filter((place) => place < wire.length), wire.length])].sort(
          (a, b) => a - b,
        )
        let repeated = 0
        places.forEach((place, index) => {
          const chunk = Buffer.concat(wire.slice(places[index - 1] ?? 0, place))
          if (followedBytes.isOneMore(chunk)) repeated++
          else if (chunk.length > 0) repeated += followedBytes.feed(chunk)
        })
        expect(parsed + repeated).toBe(events.length)
        expect(known(other)).toEqual(known(one))
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('what is written of a mapped event is what the encoder makes of it', () => {
  /** A place to translate into that keeps the texts. */
  class KeptText extends Transcript {
    text = ''
    readonly committed = true
    readonly signal = new AbortController().signal
    open(source: UpstreamSource | PromiseLike<UpstreamSource>) {
      return source
    }
    relayed() {}
    forward(events: Uint8Array | string) {
      this.text += String(events)
      return undefined
    }
    touch() {}
    repeated() {}
    write() {
      return undefined
    }
    toEvents() {
      return undefined
    }
  }

  async function translated(events: readonly SSEEvent[]): Promise<string> {
    const kept = new KeptText(dialects.openaiChat)
    const source = Readable.from(events.map((_event, index) => Buffer.from(`data: ${index}\n\n`)))
    const sink = kept as unknown as RelaySink
    await relayInto(sink, source, { map: ({ data }) => events[Number(data)] })
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

describe('what has been learned is forgotten when it is no longer true', () => {
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

  test.each<[string, (stream: Stream) => unknown]>([
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

describe('what need not be parsed', () => {
  const chat = (content: string, reason: string | null = null) => JSON.stringify(chatChunk(content, reason))
  const onTheWire = (data: string) => Buffer.from(`data: ${data}\n\n`)

  /** What reads the pieces of an answer that has a member of its own. */
  function reader(own: string) {
    const followed = new Transcript(dialects.openaiChat)
    const parser = new EventStreamParser((event) => {
      read.parsed++
      followed.observe(event)
    })
    const followedBytes = new FollowedBytes(parser, followed, 1_000_000)
    const read = {
      parsed: 0,
      feed: (...texts: string[]) => {
        const events = texts.map((said) => `data: ${chat(said).replace('{', `{"own":"${own}",`)}\n\n`)
        return followedBytes.feed(Buffer.from(events.join('')))
      },
    }
    return read
  }

  test('from the third piece of an answer on, whatever it says, in one chunk or several', () => {
    const read = reader('first')
    expect([read.feed('one'), read.feed('two')]).toEqual([0, 0])
    expect([read.feed('"quoted"\n'), read.feed('流式', '\u2028', 'x')]).toEqual([1, 3])
    expect(read.parsed).toBe(2)
    expect(read.feed('') + read.parsed).toBe(3)
  })

  test('one piece alone is known to be one; nothing, two of them, and what is too long are not', () => {
    const followed = new Transcript(dialects.openaiChat)
    const followedBytes = new FollowedBytes(
      new EventStreamParser((event) => followed.observe(event)),
      followed,
      1_000,
    )
    expect(followedBytes.isOneMore(onTheWire(chat('before')))).toBe(false)
    for (const said of ['a', 'b']) followedBytes.feed(onTheWire(chat(said)))
    const piece = onTheWire(chat('"quoted" 流式'))
    expect(followedBytes.isOneMore(piece)).toBe(true)
    expect(followedBytes.isOneMore(Buffer.alloc(0))).toBe(false)
    expect(followedBytes.isOneMore(Buffer.concat([piece, piece]))).toBe(false)
    expect(followedBytes.isOneMore(piece.subarray(0, -1))).toBe(false)
    expect(followedBytes.isOneMore(onTheWire(chat('x'.repeat(1_000))))).toBe(false)
    followed.observe({ data: chat('', 'stop') })
    expect(followedBytes.isOneMore(piece)).toBe(false)
  })

  test('from the second on where an answer looks like the last one that was read', () => {
    const before = reader('second')
    expect([before.feed('one'), before.feed('two'), before.feed('three')]).toEqual([0, 0, 1])
    const read = reader('second')
    expect([read.feed('one'), read.feed('two')]).toEqual([0, 1])
    const other = reader('third')
    expect([other.feed('one'), other.feed('two'), other.feed('three')]).toEqual([0, 0, 1])
  })

  test('what has millions of escapes is parsed', () => {
    const followed = new Transcript(dialects.openaiChat)
    for (const said of ['a', 'b', 'c']) followed.observe({ data: chat(said) })
    expect(followed.observe({ data: chat('\n'.repeat(4_000_000)) })).toBe('content')
    expect(followed.observe({ data: '[DONE]' })).toBe('terminal')
  })

  test.each([
    ['[DONE]', { sawTerminal: true, reported: undefined }],
    ['{"error":{"message":"no","code":503},"choices":[]}', { sawTerminal: false, reported: 503 }],
    ['{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}', { complete: true, reported: undefined }],
  ])('what comes after many of them is not taken for one: %s', (data, expected) => {
    const many = Buffer.concat(Array.from({ length: 200 }, (_, number) => onTheWire(chat(`${number} 流Å式`))))
    const followed = new Transcript(dialects.openaiChat)
    const parser = new EventStreamParser((event) => followed.observe(event))
    const followedBytes = new FollowedBytes(parser, followed, 1_000_000)
    for (const said of ['a', 'b']) followedBytes.feed(onTheWire(chat(said)))
    expect(followedBytes.feed(many)).toBe(200)
    expect(followedBytes.sawAll).toBe(true)
    expect(followedBytes.feed(Buffer.concat([many, onTheWire(data)]))).toBe(200)
    expect(followedBytes.sawAll).toBe(false)
    expect(known(followed)).toMatchObject(expected)
  })

  test('not what is longer than an event may be', () => {
    const followed = new Transcript(dialects.openaiChat)
    const parser = new EventStreamParser((event) => followed.observe(event), 1_000)
    const followedBytes = new FollowedBytes(parser, followed, 1_000)
    for (const said of ['a', 'b', 'c']) followedBytes.feed(onTheWire(chat(said)))
    expect(followedBytes.feed(onTheWire(chat('x'.repeat(1_000))))).toBe(0)
    expect(() => parser.check()).toThrow('more than 1000 bytes')
  })

  test('the same in its bytes as in its text, whatever follows a value', () => {
    const piece = fc.constantFrom('"', '\\', '\\"', '\\\\', '\t', 'é', '流', '0', '42', 'a', ',"n":', '}', '')
    const noise = fc.array(piece, { maxLength: 6 }).map((pieces) => pieces.join(''))
    const number = fc.oneof({ weight: 4, arbitrary: fc.nat().map(String) }, noise)
    const end = fc.constantFrom('"}', '"}', '')
    const event = fc
      .tuple(number, noise, end)
      .map(([count, said, close]) => `{"n":${count},"text":"${said}${close}`)
    const members = /"n":|"text":"/g
    fc.assert(
      fc.property(event, event, (learned, next) => {
        const inText = new RepeatedEvent(textEvents)
        const inBytes = new RepeatedEvent(byteEvents)
        for (const each of [learned, learned, learned]) {
          inText.learn(each, members)
          inBytes.learn(onTheWire(each), members)
        }
        for (const each of [learned, next]) {
          const bytes = onTheWire(each)
          expect(inBytes.endOf(bytes, 0) === bytes.length).toBe(inText.endOf(each, 0) === each.length)
        }
      }),
      { numRuns: 10_000 },
    )
  })

  test('not what is cut by a line end, though a backslash stands before it', () => {
    const repeated = new RepeatedEvent(byteEvents)
    const event = (said: string) => Buffer.from(`data: {"text":"${said}"}\n\n`)
    for (const said of ['a', 'b', 'c']) repeated.learn(event(said), /"text":"/g)
    const ends = ['d', 'd\\n', 'd\\\n', 'd\\\r', 'd\\\r\n'].map((said) => repeated.endOf(event(said), 0))
    expect(ends).toEqual([event('d').length, event('d\\n').length, 0, 0, 0])
  })

  test('an upstream whose events all differ is not learned from for ever', () => {
    const repeated = new RepeatedEvent(textEvents)
    const event = (number: number) => `{"n": ${number}, "text": "x"}`
    for (let number = 0; number < 20; number++) repeated.learn(event(number), /"text": *"/g)
    expect(repeated.endOf(event(19), 0)).toBe(0)
  })
})
