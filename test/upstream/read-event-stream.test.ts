import { PassThrough, Readable } from 'node:stream'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type EventSourceMessage, readEventStream, type UpstreamSource } from '../../src/index.js'
import { readUpstreamError } from '../../src/upstream/error-response.js'

function readAll(source: UpstreamSource, options = {}): Promise<EventSourceMessage[]> {
  return collect(readEventStream(source, options))
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const collected: T[] = []
  for await (const item of items) collected.push(item)
  return collected
}

/** The same bytes, in pieces of these sizes. */
function cut(text: string | Uint8Array, ...sizes: number[]): Uint8Array[] {
  const bytes = Buffer.from(text)
  const pieces: Uint8Array[] = []
  for (let at = 0, piece = 0; at < bytes.length; piece++) {
    const size = sizes[piece % sizes.length] ?? 1
    pieces.push(bytes.subarray(at, at + size))
    at += size
  }
  return pieces
}

/** With the first byte of a character after it. */
const half = (text: string) => Buffer.concat([Buffer.from(text), Buffer.from([0xe4])])

const webStream = (pieces: Uint8Array[]) =>
  new ReadableStream<Uint8Array>({
    start(controller) {
      for (const piece of pieces) controller.enqueue(piece)
      controller.close()
    },
  })

async function* iterate(pieces: Uint8Array[]) {
  yield* pieces
}

const data = async (source: UpstreamSource, options = {}) =>
  (await readAll(source, options)).map((event) => event.data)

describe('every kind of source', () => {
  const pieces = cut('data: é😀\r\n\r\ndata: b\n\n', 1)
  test.each<[string, () => UpstreamSource]>([
    ['a Node stream', () => Readable.from(pieces, { objectMode: false })],
    ['a web stream', () => webStream(pieces)],
    ['an async iterable', () => iterate(pieces)],
    ['a Fetch response', () => new Response(webStream(pieces))],
    ['what axios resolves to', () => ({ status: 200, headers: {}, data: Readable.from(pieces) })],
    [
      'what undici.request resolves to',
      () => ({ statusCode: 200, headers: {}, body: Readable.from(pieces) }),
    ],
  ])('%s', async (_name, source) => {
    expect(await data(source())).toEqual(['é😀', 'b'])
  })

  test.each<[unknown, string]>([
    [undefined, 'got undefined'],
    ['text', 'got a string'],
    [{ a: 1, b: 2 }, 'got an object with a, b'],
    [{ data: 'text', status: 200 }, "axios needs responseType: 'stream'"],
  ])('%j is none', async (source, message) => {
    await expect(readAll(source as UpstreamSource)).rejects.toThrow(message)
  })

  test('a body that other code reads is the caller’s mistake, not the upstream’s', async () => {
    const response = new Response('data: a\n\n')
    await response.text()
    await expect(readAll(response)).rejects.toThrow(
      'the upstream body has already been read, or is locked by another reader',
    )
  })

  test('one that was cut off before it was read', async () => {
    const stream = Readable.from(pieces)
    stream.destroy()
    await expect(readAll(stream)).rejects.toMatchObject({ outcome: 'upstream_hangup' })
  })

  test('events before the cut are handed out first', async () => {
    const stream = new Readable({ read() {} })
    stream.push('data: a\n\ndata: b\n\n')
    const seen: string[] = []
    const reading = (async () => {
      for await (const event of readEventStream(stream)) {
        seen.push(event.data)
        if (event.data === 'a') {
          stream.push('data: c\n\n')
          stream.destroy(Object.assign(new Error('reset'), { code: 'ECONNRESET' }))
          await new Promise(setImmediate)
        }
      }
    })()
    await expect(reading).rejects.toMatchObject({ outcome: 'upstream_hangup' })
    expect(seen).toEqual(['a', 'b', 'c'])
  })

  test.each([undefined, new Error('reset')])('nor is it lost if no reader had begun: %s', async (error) => {
    const stream = new PassThrough()
    stream.on('error', () => {})
    for (const name of ['a', 'b', 'c', 'd']) stream.write(`data: ${name}\n\n`)
    stream.destroy(error)
    await new Promise(setImmediate)
    const seen: string[] = []
    const reading = (async () => {
      for await (const event of readEventStream(stream)) {
        seen.push(event.data)
        await new Promise(setImmediate)
      }
    })()
    await expect(reading).rejects.toMatchObject({ outcome: 'upstream_hangup' })
    expect(seen).toEqual(['a', 'b', 'c', 'd'])
  })

  test('other code may look at a stream, and pause it', async () => {
    const stream = new PassThrough()
    stream.on('readable', () => {})
    stream.write('data: a\n\n')
    const seen: string[] = []
    for await (const event of readEventStream(stream)) {
      seen.push(event.data)
      stream.pause()
      if (event.data === 'a') setImmediate(() => stream.end('data: b\n\n'))
    }
    expect(seen).toEqual(['a', 'b'])
  })

  test('leaving the loop early destroys nothing', async () => {
    const stream = Readable.from(cut('data: a\n\ndata: b\n\n', 9))
    for await (const event of readEventStream(stream)) {
      expect(event.data).toBe('a')
      break
    }
    expect(stream.destroyed).toBe(false)
    expect(stream.listenerCount('readable')).toBe(0)
  })

  test.each<[string, () => UpstreamSource]>([
    ['a Node stream', () => new Readable({ read() {} })],
    ['a web stream', () => new ReadableStream<Uint8Array>()],
    [
      'an async iterable',
      () => ({ [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}) }) }),
    ],
  ])('the signal ends the reading of %s that never says anything', async (_name, source) => {
    const controller = new AbortController()
    const reading = readAll(source(), { signal: controller.signal })
    const reason = new Error('enough')
    setImmediate(() => controller.abort(reason))
    await expect(reading).rejects.toBe(reason)
  })

  test('a bug in a generator is not the upstream’s', async () => {
    const broken = (async function* () {
      yield Buffer.from('data: a\n\n')
      throw new RangeError('bug')
    })()
    await expect(readAll(broken)).rejects.toMatchObject({ outcome: 'internal' })
  })
})

describe('framing', () => {
  test.each<[string, string, string[]]>([
    ['LF', 'data: a\n\ndata: b\n\n', ['a', 'b']],
    ['CRLF', 'data: a\r\n\r\ndata: b\r\n\r\n', ['a', 'b']],
    ['CR', 'data: a\r\rdata: b\r\r', ['a', 'b']],
    ['mixed', 'data: a\r\n\ndata: b\n\rdata: c\r\r\n', ['a', 'b', 'c']],
    ['no space', 'data:a\n\n', ['a']],
    ['a byte order mark', '\uFEFFdata: a\n\n', ['a']],
    ['comments and pings', ': hi\n\ndata: a\n: in between\n\n:\n\n', ['a']],
    ['several lines', 'data: a\ndata: b\n\n', ['a\nb']],
    ['empty data', 'data\n\ndata:\n\n', ['', '']],
    ['unknown fields', 'x: 1\ndata: a\n\nid: 3\n\n', ['a']],
  ])('%s, cut anywhere', async (_name, text, expected) => {
    for (let size = 1; size <= text.length; size++)
      expect(await data(iterate(cut(text, size)))).toEqual(expected)
  })

  test('an event that ends in CR does not wait for the next bytes', async () => {
    const stream = new Readable({ read() {} })
    const events = readEventStream(stream)
    stream.push('data: a\r\r')
    expect((await events.next()).value).toMatchObject({ data: 'a' })
    stream.push('\ndata: b\r\n\r\n')
    stream.push(null)
    expect((await events.next()).value).toMatchObject({ data: 'b' })
  })

  test('any events in any framing, cut anywhere, are the same events', async () => {
    const line = fc
      .string({ unit: 'grapheme', maxLength: 12 })
      .map((text) => text.replace(/[\r\n\uFEFF]/g, ''))
    const eol = fc.constantFrom('\n', '\r\n', '\r')
    await fc.assert(
      fc.asyncProperty(
        fc.array(line, { maxLength: 6 }),
        eol,
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 }),
        async (lines, end, sizes) => {
          const text = lines.map((value) => `data: ${value}${end}${end}`).join('')
          expect(await data(iterate(cut(text, ...sizes)))).toEqual(lines)
        },
      ),
      { numRuns: 300 },
    )
  })

  test('events that come one by one are those that come at once', async () => {
    const piece = fc.constantFrom(
      'data: a\n\n',
      'data: b\n\n',
      'data: \n\n',
      'data:  c\n\n',
      'data:d\n\n',
      'data: e\r\r',
      'data: f\n',
      'event: g\n',
      'id: 1\n',
      ': h\n',
      '\n',
      '\r',
      '\r\n',
      'data: é\n\n',
      'data: i\n\r\n',
      'data: j',
    )
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 8 }), async (pieces) => {
        const ready = await readAll(iterate([Buffer.from(pieces.join(''))]))
        expect(await readAll(iterate(pieces.map((each) => Buffer.from(each))))).toEqual(ready)
      }),
      { numRuns: 1_000 },
    )
  })

  test.each<[string, string, string[]]>([
    ['[DONE] without any line end', 'data: a\n\ndata: [DONE]', ['a', '[DONE]']],
    ['a whole line without its blank line', 'data: a\n\ndata: b\n', ['a']],
    ['whole JSON without any line end', 'data: {"a":1}', ['{"a":1}']],
    ['half a JSON text', 'data: a\n\ndata: {"a":', ['a']],
    ['half a line', 'data: a\n\ndata: hal', ['a']],
  ])('at the end: %s', async (_name, text, expected) => {
    expect(await data(iterate(cut(text, 3)))).toEqual(expected)
  })

  test.each<[string, (string | Uint8Array)[], string[]]>([
    [
      'followed by nothing, and then by ASCII',
      [half('data: a'), '', '\n\ndata: {"x":1}'],
      ['a\ufffd', '{"x":1}'],
    ],
    ['followed by ASCII', [half('data: a'), 'b\n\n', 'data: c\n\n'], ['a\ufffdb', 'c']],
    ['at the end of all', ['data: a\n\n', half('data: 1')], ['a']],
    ['at the end of all, in a line that is no data', ['data: [DONE]\n', half(': ')], ['[DONE]']],
  ])('a character that never gets whole, %s', async (_, pieces, expected) => {
    expect(await data(iterate(pieces.map((piece) => Buffer.from(piece))))).toEqual(expected)
  })

  test('a name that looks like a byte order mark that was encoded twice is a name like any other', async () => {
    expect(await data(iterate([Buffer.from('\u00ef\u00bb\u00bfdata: a\n\ndata: b\n\n')]))).toEqual(['b'])
  })

  test('an event of a mebibyte, in pieces', async () => {
    const big = 'é'.repeat(512 * 1024)
    expect(await data(iterate(cut(`data: ${big}\n\ndata: b\n\n`, 65_521)))).toEqual([big, 'b'])
  })
})

describe('limits', () => {
  test.each([1, 1_000, 100_000])(
    'an event that is too long ends the reading, cut into pieces of %i',
    async (size) => {
      const seen: string[] = []
      const reading = (async () => {
        const source = iterate(cut(`data: a\n\ndata: ${'x'.repeat(2_000)}\n\ndata: c\n\n`, size))
        for await (const event of readEventStream(source, { maxEventBytes: 1_000 })) seen.push(event.data)
      })()
      await expect(reading).rejects.toMatchObject({
        code: 'upstream_event_too_large',
        message: 'The upstream sent an event of more than 1000 bytes.',
        status: 502,
      })
      expect(seen).toEqual(['a'])
    },
  )

  test('also when it comes in many short lines', async () => {
    const source = iterate(cut('data: xxxxxxxx\n'.repeat(200), 100))
    await expect(readAll(source, { maxEventBytes: 1_000 })).rejects.toMatchObject({
      code: 'upstream_event_too_large',
    })
  })

  test('is counted in bytes', async () => {
    const source = () => iterate(cut(`data: ${'漢'.repeat(600)}\n\n`, 100))
    await expect(readAll(source(), { maxEventBytes: 1_700 })).rejects.toMatchObject({
      code: 'upstream_event_too_large',
    })
    expect(await data(source(), { maxEventBytes: 1_800 })).toHaveLength(1)
  })

  test('while it has not ended, its characters are', async () => {
    let taken = 0
    const endless = async function* () {
      yield Buffer.from('data: ')
      for (; taken < 10_000; taken += 30) yield Buffer.from('漢'.repeat(10))
    }
    await expect(readAll(endless(), { maxEventBytes: 1_000 })).rejects.toMatchObject({
      code: 'upstream_event_too_large',
    })
    expect(taken).toBeLessThanOrEqual(3_000)
  })

  test('a long async iterable is not kept in memory', async () => {
    async function* long() {
      for (let chunks = 0; chunks < 800; chunks++) yield Buffer.alloc(256 * 1024, ':\n')
      yield Buffer.from('data: end\n\n')
    }
    const before = process.memoryUsage().arrayBuffers
    let most = 0
    const onChunk = () => {
      most = Math.max(most, process.memoryUsage().arrayBuffers - before)
    }
    expect(await data(long(), { signal: new AbortController().signal, onChunk })).toEqual(['end'])
    expect(most).toBeLessThan(150 * 1024 * 1024)
  })

  test('a bad limit is named', () => {
    expect(() => readEventStream(iterate([]), { maxEventBytes: 0 })).toThrow(
      'maxEventBytes must be a number above 0, got 0',
    )
  })
})

describe('the answer’s head, when it is known', () => {
  test('an error status is an UpstreamError with its Retry-After', async () => {
    const response = new Response('{"error":"busy"}', { status: 503, headers: { 'retry-after': '3' } })
    await expect(readAll(response)).rejects.toMatchObject({
      outcome: 'upstream_error',
      status: 503,
      retryAfter: '3',
      detail: 'busy',
    })
    const text = new Response('no JSON', { status: 500 })
    const error = await readUpstreamError(text)
    expect(error.detail).toBe('no JSON')
    expect(JSON.stringify(error)).not.toContain('no JSON')
  })

  test('a redirect is not an answer', async () => {
    await expect(readAll(new Response('', { status: 302 }))).rejects.toMatchObject({
      status: 502,
      upstreamStatus: 302,
    })
  })

  test('a page is not an event stream; text/plain may be one', async () => {
    const page = new Response('<html>', { headers: { 'content-type': 'text/html; charset=utf-8' } })
    await expect(readAll(page)).rejects.toMatchObject({
      outcome: 'upstream_protocol',
      message: 'The upstream responded with text/html instead of an event stream.',
    })
    const plain = new Response('data: a\n\n', { headers: { 'content-type': 'text/plain' } })
    expect(await data(plain)).toEqual(['a'])
  })

  test('an answer without a body is cut off', async () => {
    await expect(readAll(new Response(null))).rejects.toMatchObject({ outcome: 'upstream_truncated' })
  })

  test('the body of an error is read to a limit, and its status survives a broken body', async () => {
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(Buffer.alloc(8_192, 'x')),
    })
    const error = await readUpstreamError(new Response(endless, { status: 500 }))
    expect(error.detail).toHaveLength(64 * 1024)
    const broken = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.error(new Error('reset')),
    })
    expect(await readUpstreamError(new Response(broken, { status: 500 }))).toMatchObject({ status: 500 })
  })
})
