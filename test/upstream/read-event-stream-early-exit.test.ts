import { PassThrough, Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { readAnswer, readEventStream } from '../../src/index.js'

const bytes = (text: string) => new TextEncoder().encode(text)
const turn = () => new Promise(setImmediate)
/** Listens to nothing else: an error must find a listener of the reader's. */
const closed = (stream: Readable) => new Promise((resolve) => stream.on('close', resolve))

const webStream = (...pieces: string[]) =>
  new ReadableStream<Uint8Array>({
    start(controller) {
      for (const piece of pieces) controller.enqueue(bytes(piece))
      controller.close()
    },
  })

async function dataOf(events: AsyncIterable<{ data: string }>): Promise<string[]> {
  const all: string[] = []
  for await (const { data } of events) all.push(data)
  return all
}

describe('a loop that is left early leaves the rest to other code', () => {
  test('of a web stream, which is no longer locked', async () => {
    const body = webStream('data: a\n\n', 'data: b\n\n')
    for await (const _event of readEventStream(body)) break
    expect(body.locked).toBe(false)
    await body.cancel()
  })

  test('of a Node stream, to its byte', async () => {
    const body = Readable.from([Buffer.from('data: a\n\n'), Buffer.from('data: b\n\n')])
    for await (const { data } of readEventStream(body)) {
      expect(data).toBe('a')
      break
    }
    expect(await dataOf(readEventStream(body))).toEqual(['b'])
  })

  test('of a generator, which has been returned', async () => {
    let isLeft = false
    async function* chunks() {
      try {
        yield 'data: a\n\n'
        yield 'data: b\n\n'
      } finally {
        isLeft = true
      }
    }
    for await (const _event of readEventStream(chunks())) break
    expect(isLeft).toBe(true)
  })
})

describe('a reader', () => {
  test('answers every next() in turn, and says done for ever after', async () => {
    const reader = readEventStream(Readable.from([Buffer.from('data: a\n\ndata: b\n\n')]))
    const asked = [reader.next(), reader.next(), reader.next(), reader.next()]
    expect((await Promise.all(asked)).map(({ value }) => value?.data)).toEqual([
      'a',
      'b',
      undefined,
      undefined,
    ])
    expect(await reader.next()).toEqual({ done: true, value: undefined })
  })

  test('reads on only when it is asked', async () => {
    let read = 0
    async function* chunks() {
      for (; read < 10; read++) yield `data: ${read}\n\n`
    }
    const reader = readEventStream(chunks())
    await reader.next()
    await turn()
    expect(read).toBeLessThan(2)
  })

  test('hands out the events before a failure, then fails once', async () => {
    const body = new PassThrough()
    const reader = readEventStream(body)
    const first = reader.next()
    body.write('data: a\n\ndata: b\n\n')
    expect((await first).value?.data).toBe('a')
    body.destroy(Object.assign(new Error('reset'), { code: 'ECONNRESET' }))
    await closed(body)
    expect((await reader.next()).value?.data).toBe('b')
    await expect(reader.next()).rejects.toMatchObject({ outcome: 'upstream_hangup' })
    expect((await reader.next()).done).toBe(true)
  })

  test('that was left while it was opened still listens for errors', async () => {
    const body = new PassThrough()
    const reader = readEventStream(body)
    const asked = reader.next()
    await reader.return(undefined)
    expect((await asked).done).toBe(true)
    await turn()
    body.destroy(new Error('boom'))
    await closed(body)
  })

  test('that is thrown into gives the error back', async () => {
    const reader = readEventStream(webStream('data: a\n\n'))
    await reader.next()
    await expect(reader.throw(new Error('mine'))).rejects.toThrow('mine')
    expect((await reader.next()).done).toBe(true)
  })
})

test('a character that is cut between two texts stays whole', async () => {
  async function* chunks(...texts: string[]) {
    yield* texts
  }
  expect(await dataOf(readEventStream(chunks('data: \ud83d', '\ude00\n\n')))).toEqual(['😀'])
  expect(await dataOf(readEventStream(Readable.from(['data: \ud83d', '\ude00\n\n'])))).toEqual(['😀'])
  expect(await readAnswer(chunks('{"text": "\ud83d', '\ude00"}'))).toEqual({ text: '😀' })
})

test('an upstream that sends nothing but space is neither kept nor read again', async () => {
  const space = Buffer.alloc(16 * 1024, '\n')
  async function* chunks() {
    for (let sent = 0; sent < 1_200; sent++) yield space
    yield bytes('data: 1\n\n')
  }
  expect(await dataOf(readEventStream(chunks()))).toEqual(['1'])
})
