import { createParser, type EventSourceMessage } from 'eventsource-parser'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Transcript } from '../../../src/dialects/transcript.js'
import { EventFollower, type FollowOptions } from '../../../src/framing/sse/follow.js'
import { dialects, type StreamDialect } from '../../../src/index.js'
import { chatChunk } from '../../support/chat.js'
import { kinds } from '../../support/dialect-events.js'

/** The events that a client would have read of an upstream it is connected to directly. */
function direct(bytes: Uint8Array): EventSourceMessage[] {
  const events: EventSourceMessage[] = []
  // All line ends are the same to a client; a CR at the very end of the bytes is one to it, too.
  const text = new TextDecoder().decode(bytes).replace(/\r\n?/g, '\n')
  createParser({ onEvent: (event) => events.push(event) }).feed(text)
  return events
}

const line = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.string({ unit: 'binary' }).map((text) => `data: ${text.replace(/[\r\n]/g, ' ')}`),
  },
  fc.constantFrom(
    'data',
    'data:',
    ':',
    ': ping',
    'id: 7',
    'event: x',
    'event',
    'retry: 9',
    'foo: bar',
    'x',
    '',
  ),
)
const lineEnd = fc.constantFrom('\n', '\r\n', '\r')
const bytes = fc
  .tuple(fc.boolean(), fc.array(fc.tuple(line, lineEnd), { maxLength: 30 }))
  .map(([mark, lines]) => Buffer.from(`${mark ? '\ufeff' : ''}${lines.flat().join('')}`))
const cuts = fc.array(fc.nat(), { maxLength: 20 })

/** The bytes, cut at these places. */
function sliced(all: Buffer, at: readonly number[]): Buffer[] {
  const places = [...new Set(at.map((place) => place % (all.length + 1)))].sort((a, b) => a - b)
  return [0, ...places].map((start, index) => all.subarray(start, places[index] ?? all.length))
}

/** Follows these, and keeps the events. */
function followed(chunks: readonly (Uint8Array | string)[], options?: FollowOptions) {
  const events: { data: string; id: string | undefined; event: string | undefined; end: number }[] = []
  const follower = new EventFollower(({ data, id, event }, end) => {
    events.push({ data, id, event, end })
  }, options)
  const offsets = chunks.map((chunk) => follower.push(chunk))
  return { follower, events, offsets }
}

const plain = ({ data, id, event }: EventSourceMessage) => ({ data, id, event })

describe('any bytes, cut anywhere', () => {
  test('give the events that a direct connection gives, in order', () => {
    fc.assert(
      fc.property(bytes, cuts, (all, at) => {
        const { events } = followed(sliced(all, at))
        const mark = all.subarray(0, 3).equals(Buffer.from('\ufeff')) ? 3 : 0
        expect(events.map(plain)).toEqual(direct(all.subarray(mark)).map(plain))
      }),
      { numRuns: 2_000 },
    )
  })

  test('are whole events up to the offset that is returned, and each event ends where it says', () => {
    fc.assert(
      fc.property(bytes, cuts, (all, at) => {
        const text = Buffer.from(all.toString().replace('\ufeff', ''))
        const { follower, events, offsets } = followed(sliced(text, at))
        expect(offsets).toEqual([...offsets].sort((a, b) => a - b))
        const whole = offsets.at(-1) ?? 0
        expect(direct(text.subarray(0, whole))).toHaveLength(events.length)
        events.forEach(({ end }, index) => {
          expect(direct(text.subarray(0, end))).toHaveLength(index + 1)
        })
        if (whole === text.length) expect(follower.gap).not.toBe('comment')
      }),
      { numRuns: 1_000 },
    )
  })
})

test('a long event in many pieces is joined once', () => {
  const piece = Buffer.alloc(1_024, 'x')
  const { follower, events } = followed(['data: '])
  for (let pieces = 0; pieces < 8_000; pieces++) expect(follower.push(piece)).toBe(0)
  expect(follower.push('\n\n')).toBe(8 + 8_000 * 1_024)
  expect(events[0]?.data).toHaveLength(8_000 * 1_024)
})

describe('the bytes after the last event', () => {
  test.each([
    ['', 'none'],
    ['data: a\n\n', 'none'],
    ['data: a\r\n\r\n', 'none'],
    ['data: a\r\r', 'none'],
    ['data: a\n', 'event'],
    ['data: a', 'event'],
    ['data: a\r\n', 'event'],
    ['data: a\r\n\r', 'half'],
    ['data: a\n\nda', 'event'],
    [':\n\n', 'none'],
    [':\n', 'comment'],
    [': ping\r\n', 'comment'],
    ['retry: 1000\n', 'comment'],
    ['data: a\n\n: x\n: y\n', 'comment'],
    [': x', 'event'],
    [': x\nid: 1\n', 'event'],
    [`: ${'x'.repeat(2_000)}\n\n`, 'none'],
  ])('%j: %s', (text, expected) => {
    for (let cut = 0; cut <= text.length; cut++) {
      expect(followed([text.slice(0, cut), text.slice(cut)]).follower.gap).toBe(expected)
    }
  })
})

describe('a byte order mark', () => {
  test.each([['\ufeffdata: a\n\n'], ['\ufeff\n\ndata: a\n\n'], ['\ufeff: c\n\ndata: a\n\n']])(
    'is part of no event: %j',
    (text) => {
      const all = Buffer.from(text)
      for (let cut = 0; cut <= all.length; cut++) {
        const { follower, events } = followed([all.subarray(0, cut), all.subarray(cut)])
        expect(events).toMatchObject([{ data: 'a', end: all.length }])
        expect(follower.markBytes).toBe(3)
      }
    },
  )
})

describe('the end', () => {
  test.each([
    ['data: [DONE]', ['[DONE]']],
    ['data: {"a":1}', ['{"a":1}']],
    ['data: x\n', []],
    ['data: 12', []],
    ['data: {"a":', []],
    [': comment\n', []],
    ['', []],
  ])('%j', (text, expected) => {
    const { follower, events } = followed([text])
    expect(follower.end()).toBe(expected.length > 0 ? text.length : 0)
    expect(events.map(({ data }) => data)).toEqual(expected)
  })
})

describe('bytes beyond the maximum of an event', () => {
  test.each([
    ['in one piece', [`data: ${'x'.repeat(101)}\n\n`]],
    ['while it comes', ['data: ', 'x'.repeat(101)]],
  ])('%s', (_name, chunks) => {
    const { follower, events } = followed(['data: before\n\n', ...chunks, 'data: after\n\n'], {
      maxEventBytes: 100,
    })
    expect(events.map(({ data }) => data)).toEqual(['before'])
    expect(follower.failure?.message).toContain('more than 100 bytes')
  })

  test('a limit that is none is refused', () => {
    expect(() => followed([], { maxEventBytes: 0 })).toThrow(
      'relay.maxEventBytes must be a number above 0, got 0',
    )
  })
})

describe.each(kinds)('%s: an event that is not parsed means what it says', (_name, dialect, event) => {
  test('the dialect knows the same of the stream', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 20 }), cuts, (events, at) => {
        const parsed = new Transcript(dialect)
        const roles = events.map((each) => parsed.observe(each))
        const transcript = new Transcript(dialect)
        const seen: string[] = []
        const follower = new EventFollower((each) => seen.push(transcript.observe(each)), {
          skips: transcript.skips,
          onSkipped: () => seen.push('content'),
        })
        const wire = events.map(
          ({ event: name, data }) => `${name ? `event: ${name}\n` : ''}data: ${data}\n\n`,
        )
        for (const chunk of sliced(Buffer.from(wire.join('')), at)) follower.push(chunk)
        expect(seen).toHaveLength(roles.length)
        expect(transcript.complete).toBe(parsed.complete)
        expect(transcript.sawTerminal).toBe(parsed.sawTerminal)
        expect(transcript.closing()).toEqual(parsed.closing())
        expect(seen.filter((role) => role === 'error')).toEqual(roles.filter((role) => role === 'error'))
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('skipped bytes', () => {
  const chat = (delta: object, reason: string | null = null) => {
    const { choices, ...head } = chatChunk('')
    return JSON.stringify({ ...head, choices: [{ ...choices[0], delta, finish_reason: reason }] })
  }
  const first = chat({ role: 'assistant', content: 'a' })

  /** How many of these are parsed, after one piece of an answer. */
  function parsed(
    data: readonly string[],
    dialect: StreamDialect = dialects.openaiChat,
    lineEnd = '\n',
  ): number {
    const transcript = new Transcript(dialect)
    let count = 0
    const follower = new EventFollower(
      (event) => {
        count++
        transcript.observe(event)
      },
      { skips: transcript.skips },
    )
    follower.push(`data: ${first}\n\n`)
    count = 0
    for (const each of data) follower.push(`data: ${each}${lineEnd}${lineEnd}`)
    return count
  }

  test.each([
    ['content', chat({ content: 'b' })],
    ['quotes in it', chat({ content: '"finish_reason":"stop"' })],
    ['another script', chat({ content: '流式' })],
    ['reasoning', chat({ reasoning_content: 'b' })],
    ['arguments of a tool', chat({ tool_calls: [{ index: 0, function: { arguments: '{' } }] })],
    ['spaces in the JSON', JSON.stringify(JSON.parse(chat({ content: 'b' })), null, 1).replaceAll('\n', ' ')],
    ['usage that is null', chat({ content: 'b' }).replace('{', '{"usage":null,')],
  ])('a piece of the answer: %s', (_name, data) => {
    expect(parsed([data])).toBe(0)
    expect(parsed([data], dialects.openaiChat, '\r\n')).toBe(0)
  })

  test.each([
    ['an empty delta', chat({ content: '' })],
    ['a role', chat({ role: 'assistant' })],
    ['a finish_reason', chat({ content: 'b' }, 'stop')],
    ['another choice', chat({ content: 'b' }).replace('"index":0', '"index":1')],
    ['an error', chat({ content: 'b' }).replace('{', '{"error":{"message":"no"},')],
    ['usage', chat({ content: 'b' }).replace('{', '{"usage":{"total_tokens":1},')],
    ['[DONE]', '[DONE]'],
    ['two lines', `${chat({ content: 'b' })}\ndata: x`],
    ['an id', `${chat({ content: 'b' })}\nid: 1`],
  ])('is not: %s', (_name, data) => {
    expect(parsed([data])).toBe(1)
  })

  test('is nothing after a finish_reason', () => {
    expect(parsed([chat({}, 'stop'), chat({ content: 'b' })])).toBe(2)
  })

  test('is a delta of the AI SDK, whatever spaces it has', () => {
    const delta = { type: 'text-delta', id: '0', delta: 'b' }
    expect(parsed([JSON.stringify(delta), '{ "type" : "text-delta", "delta": "b" }'], dialects.aiSdkUi)).toBe(
      0,
    )
    expect(parsed([JSON.stringify({ ...delta, type: 'finish' })], dialects.aiSdkUi)).toBe(1)
  })
})
