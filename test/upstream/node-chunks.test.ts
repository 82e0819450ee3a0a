import { Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { NodeChunks } from '../../src/upstream/node-chunks.js'

describe('a Node stream that hands out one piece at a time, as those of Node 26 do', () => {
  /** The chunks that are taken of these, all of which have come before the first is read. */
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
