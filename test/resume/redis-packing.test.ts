import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { nameOfKey, Packing } from '../../src/resume/redis/packing.js'

const chunk = (word: string) =>
  `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"${word}"}}]}\n\n`

describe('Packing', () => {
  test('events packed with the dictionary of a stream need that dictionary', () => {
    const writer = new Packing(undefined, 'run')
    const first = writer.pack(chunk('Once'), '1')
    const dictionary = writer.chooseDictionary(chunk('Once'))
    const second = writer.pack(chunk('upon'), '2')
    expect(second.form).toBe('y')
    // As much as it says that the one before did not.
    expect(second.bytes.length).toBeLessThan(20)
    const reader = new Packing(undefined, 'run')
    expect(reader.unpack(first, '1')).toBe(chunk('Once'))
    expect(() => reader.unpack(second, '2')).toThrow()
    reader.takeDictionary(dictionary)
    expect(reader.unpack(second, '2')).toBe(chunk('upon'))
  })

  test('events that do not get smaller stay as they are', () => {
    const packing = new Packing(undefined, 'run')
    for (const text of ['data: hi\n\n', '', `data: ${randomBytes(200).toString('base64')}é😀\n\n`]) {
      expect(packing.unpack(packing.pack(text, '1'), '1')).toBe(text)
    }
    expect(packing.pack('data: hi\n\n', '1').form).toBe('p')
  })

  test('a dictionary is the last kilobyte of a long beginning', () => {
    const packing = new Packing(undefined, 'run')
    expect(packing.chooseDictionary(`${'x'.repeat(5_000)}end`).toString()).toBe(`${'x'.repeat(1_021)}end`)
  })

  test('sealed events open with their key, in their recording and in their place alone', () => {
    const seal = randomBytes(32)
    const writer = new Packing(seal, 'run')
    const dictionary = writer.chooseDictionary(chunk('a secret'))
    const packed = writer.pack(chunk('another secret'), '7')
    expect(dictionary.includes('secret')).toBe(false)
    expect(packed.bytes.includes('secret')).toBe(false)
    const open = (packing: Packing, place = '7') => {
      packing.takeDictionary(dictionary)
      return packing.unpack(packed, place)
    }
    expect(open(new Packing(seal, 'run'))).toBe(chunk('another secret'))
    expect(() => open(new Packing(seal, 'run'), '8')).toThrow()
    expect(() => open(new Packing(seal, 'another run'))).toThrow()
    expect(() => open(new Packing(randomBytes(32), 'run'))).toThrow()
    expect(() => open(new Packing(undefined, 'run'))).toThrow()
    packed.bytes[20] = (packed.bytes[20] ?? 0) ^ 1
    expect(() => open(new Packing(seal, 'run'))).toThrow()
  })

  test('a text that is sealed twice looks different each time', () => {
    const packing = new Packing(randomBytes(32), 'run')
    expect(packing.pack('data: hi\n\n', '1').bytes).not.toEqual(packing.pack('data: hi\n\n', '1').bytes)
  })

  test('keys are distinguished by a name that says nothing of them', () => {
    const key = randomBytes(32)
    expect(nameOfKey(key)).toBe(nameOfKey(Buffer.from(key)))
    expect(nameOfKey(key)).not.toBe(nameOfKey(randomBytes(32)))
    expect(nameOfKey(key)).toMatch(/^[\w-]{12}$/)
  })
})
