import { createParser, type EventSourceMessage } from 'eventsource-parser'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { encodeComment, encodeEvent } from '../../../src/framing/sse/encode.js'

function parse(text: string): EventSourceMessage[] {
  const events: EventSourceMessage[] = []
  createParser({ onEvent: (event) => events.push(event) }).feed(text)
  return events
}

/** Data as a reader gets it: a reader knows one kind of line end. */
const asRead = (data: string) => data.replace(/\r\n?/g, '\n')

describe('data', () => {
  test.each([
    ['a\nb'],
    ['a\r\nb'],
    ['a\rb'],
    ['a\revent: evil\rdata: x'],
    ['a\n'],
    ['\n'],
    [''],
    [' a'],
    ['\ta'],
    [':hidden'],
    ['data: [DONE]'],
    ['x\u2028y\u2029z\u0085'],
    ['\u000b\u000c'],
    ['\uFEFFbom'],
    ['é😀漢'],
  ])('%j arrives as one event, as it was', (data) => {
    expect(parse(encodeEvent({ data }))).toEqual([{ data: asRead(data), event: undefined, id: undefined }])
  })

  test('every line is "data: " and the value, the event ends with one empty line', () => {
    expect(encodeEvent({ data: 'a\r\nb\n' })).toBe('data: a\ndata: b\ndata: \n\n')
    expect(encodeEvent({ data: '' })).toBe('data: \n\n')
  })

  test('anything but a string is sent as JSON, toJSON included', () => {
    expect(encodeEvent({ data: { at: new Date(0) } })).toBe('data: {"at":"1970-01-01T00:00:00.000Z"}\n\n')
    expect(encodeEvent({ data: null })).toBe('data: null\n\n')
  })

  test.each([[undefined], [() => {}], [Symbol('s')], [10n]])('%s is not JSON-serialisable', (data) => {
    expect(() => encodeEvent({ data })).toThrow(TypeError)
  })

  test('a cycle is refused', () => {
    const cycle: Record<string, unknown> = {}
    cycle.self = cycle
    expect(() => encodeEvent({ data: cycle })).toThrow(TypeError)
  })

  test.each(['\u2028', '\u2029', '\u0085'])(
    '%j is escaped in JSON, given as an object or as text',
    (separator) => {
      const json = JSON.stringify({ text: `a${separator}b` })
      for (const data of [{ text: `a${separator}b` }, json]) {
        const text = encodeEvent({ data })
        expect(text).not.toContain(separator)
        expect(JSON.parse(parse(text)[0]?.data ?? '')).toEqual({ text: `a${separator}b` })
      }
    },
  )

  test('text that only looks like JSON is left alone', () => {
    expect(encodeEvent({ data: '{not json\u2028' })).toContain('\u2028')
  })

  test('a lone surrogate becomes U+FFFD on the wire, or an escape in JSON', () => {
    expect(Buffer.from(encodeEvent({ data: '\uD800' })).toString()).toBe('data: \uFFFD\n\n')
    expect(encodeEvent({ data: ['\uD800'] })).toBe('data: ["\\ud800"]\n\n')
  })

  test('any text arrives whole, and nothing else does', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (data) => {
        expect(parse(encodeEvent({ data }))).toEqual([
          { data: asRead(data), event: undefined, id: undefined },
        ])
      }),
    )
  })

  test('any JSON value arrives as it was', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (data) => {
        const [event, ...more] = parse(encodeEvent({ data }))
        expect(more).toEqual([])
        if (typeof data !== 'string') {
          expect(JSON.parse(event?.data ?? '')).toEqual(JSON.parse(JSON.stringify(data)))
        }
      }),
    )
  })
})

describe('event, id, retry', () => {
  test('stand before the data, in one block with it', () => {
    const text = encodeEvent({ data: 'x', event: 'delta', id: '7', retry: 3000 })
    expect(text).toBe('event: delta\nid: 7\nretry: 3000\ndata: x\n\n')
  })

  test.each(['1\ndata: evil\n\n', '1\rdata: evil', 'a\0b'])('the id %j is refused', (id) => {
    expect(() => encodeEvent({ data: 'x', id })).toThrow(`got ${JSON.stringify(id)}`)
  })

  test('an empty id is sent: it resets', () => {
    expect(encodeEvent({ data: 'x', id: '' })).toBe('id: \ndata: x\n\n')
  })

  test.each(['a\ndata: x', 'a\rb'])('the event name %j is refused', (event) => {
    expect(() => encodeEvent({ data: 'x', event })).toThrow(TypeError)
  })

  test('an empty event name is none', () => {
    expect(encodeEvent({ data: 'x', event: '' })).toBe('data: x\n\n')
  })

  test('retry 0 is sent', () => {
    expect(encodeEvent({ data: 'x', retry: 0 })).toBe('retry: 0\ndata: x\n\n')
  })

  test.each([-1, 1.5, Number.NaN, 1e21, '3000'])('retry %j is refused', (retry) => {
    expect(() => encodeEvent({ data: 'x', retry: retry as number })).toThrow(
      'event.retry must be a whole number',
    )
  })
})

describe('comments', () => {
  test('no text is the heartbeat: one line, no empty line after it', () => {
    expect(encodeComment('')).toBe(':\n')
  })

  test('every line is one of its own, with a space so that no reader takes it for a field', () => {
    expect(encodeComment('a\r\ndata: x\rb')).toBe(': a\n: data: x\n: b\n')
  })

  test('no comment is ever an event, nor disturbs one', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(parse(`${encodeComment(text)}${encodeEvent({ data: 'x' })}`)).toHaveLength(1)
      }),
    )
  })
})
