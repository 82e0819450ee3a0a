import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { FlushQueue } from '../../src/resume/redis/flush-queue.js'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test('each waits its time, from its own first event, with one timer', () => {
  const queue = new FlushQueue(80)
  const flushed: string[] = []
  const streams = ['a', 'b', 'c'].map((name) => () => void flushed.push(name))
  for (const stream of streams) {
    queue.add(stream)
    queue.add(stream)
    expect(vi.getTimerCount()).toBe(1)
    vi.advanceTimersByTime(30)
  }
  expect(flushed).toEqual(['a'])
  vi.advanceTimersByTime(10)
  expect(flushed).toEqual(['a'])
  vi.advanceTimersByTime(50)
  expect(flushed).toEqual(['a', 'b', 'c'])
  expect(vi.getTimerCount()).toBe(0)
})

test('a stream that has ended is not called', () => {
  const queue = new FlushQueue(80)
  const flush = vi.fn()
  queue.add(flush)
  queue.delete(flush)
  vi.advanceTimersByTime(1_000)
  expect(flush).not.toHaveBeenCalled()
  expect(vi.getTimerCount()).toBe(0)
})
