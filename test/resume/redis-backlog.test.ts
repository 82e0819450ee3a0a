import { describe, expect, test } from 'vitest'
import { RedisBacklog } from '../../src/resume/redis/backlog.js'
import { RedisKept } from '../../src/resume/redis/kept.js'

const plenty = { maxBytes: 1024 * 1024, maxEvents: 10_000 }

describe('RedisBacklog', () => {
  test('everything goes together, and counts until it is confirmed', () => {
    const all = { length: 100 }
    const backlog = new RedisBacklog(plenty, all)
    backlog.add('one', 1)
    backlog.add('two, three', 2)
    expect(backlog.length).toBe(13)
    expect(backlog.take()).toEqual({ text: 'onetwo, three', first: 1, last: 3 })
    expect(backlog.isEmpty).toBe(true)
    expect({ length: backlog.length, all: all.length }).toEqual({ length: 13, all: 113 })
    backlog.confirm()
    expect({ length: backlog.length, all: all.length }).toEqual({ length: 0, all: 100 })
  })

  test('no more than 64 KiB goes together, unless it came together', () => {
    const backlog = new RedisBacklog(plenty, { length: 0 })
    for (let each = 0; each < 3; each++) backlog.add('x'.repeat(30 * 1024), 1)
    backlog.add('x'.repeat(100 * 1024), 5)
    const taken = []
    while (!backlog.isEmpty) taken.push(backlog.take())
    expect(taken.map(({ first, last }) => [first, last])).toEqual([
      [1, 2],
      [3, 3],
      [4, 8],
    ])
  })

  test('a stream that keeps few events sends them in small entries, so that few go too early', () => {
    const backlog = new RedisBacklog({ ...plenty, maxEvents: 10 }, { length: 0 })
    for (let each = 0; each < 100; each++) backlog.add('x', 1)
    expect(backlog.take()).toMatchObject({ first: 1, last: 64 })
    expect(backlog.take()).toMatchObject({ first: 65, last: 100 })
  })

  test('dropped events are counted, and events taken before are not', () => {
    const all = { length: 0 }
    const backlog = new RedisBacklog(plenty, all)
    backlog.add('taken', 1)
    backlog.take()
    backlog.add('dropped', 1)
    backlog.drop()
    expect({ length: backlog.length, all: all.length }).toEqual({ length: 5, all: 5 })
    backlog.skip(3)
    backlog.add('next', 1)
    expect(backlog.take()).toEqual({ text: 'next', first: 6, last: 6 })
    backlog.confirm()
    expect({ last: backlog.last, length: backlog.length, all: all.length }).toEqual({
      last: 6,
      length: 0,
      all: 0,
    })
  })
})

describe('RedisKept', () => {
  test('an entry goes when the others are enough', () => {
    const kept = new RedisKept({ maxBytes: 1_000, maxEvents: 10 })
    expect(kept.add(1, 6, 10)).toBeUndefined()
    expect(kept.add(7, 12, 10)).toBeUndefined()
    expect(kept.add(13, 16, 10)).toBe(7)
    expect(kept.add(17, 17, 980)).toBeUndefined()
    expect(kept.add(18, 18, 1_000)).toBe(18)
  })

  test('a single entry that is too large stays until there is another', () => {
    const kept = new RedisKept({ maxBytes: 10, maxEvents: 10 })
    expect(kept.add(1, 100, 1_000)).toBeUndefined()
    expect(kept.add(101, 101, 10)).toBe(101)
  })
})
