import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { isTaken } from '../../src/client/is-taken.js'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const never = new Promise(() => {})

/** @returns what came of a wait, once there is something */
function waitFor(finished: Promise<unknown>, taken: () => number, clientStallMs = 5_000) {
  const wait: { result?: boolean } = {}
  void isTaken(finished, { clientStallMs, taken }).then((result) => {
    wait.result = result
  })
  return wait
}

test('a client that takes nothing has its time', async () => {
  const wait = waitFor(never, () => 7)
  await vi.advanceTimersByTimeAsync(4_900)
  expect(wait.result).toBeUndefined()
  await vi.advanceTimersByTimeAsync(200)
  expect(wait.result).toBe(false)
})

test('FM-29: bytes that it took at first make that a tenth longer, and not twice as long', async () => {
  let taken = 0
  const wait = waitFor(never, () => taken)
  await vi.advanceTimersByTimeAsync(100)
  taken = 64 * 1024
  await vi.advanceTimersByTimeAsync(4_950)
  expect(wait.result).toBeUndefined()
  await vi.advanceTimersByTimeAsync(550)
  expect(wait.result).toBe(false)
})

test('one that takes a little now and then is waited for', async () => {
  let taken = 0
  let finish = () => {}
  const finished = new Promise<void>((resolve) => {
    finish = resolve
  })
  const wait = waitFor(finished, () => taken)
  for (let sips = 0; sips < 5; sips++) {
    await vi.advanceTimersByTimeAsync(4_800)
    taken++
  }
  expect(wait.result).toBeUndefined()
  finish()
  await vi.advanceTimersByTimeAsync(1)
  expect(wait.result).toBe(true)
})

test('without a deadline it is waited for, however long', async () => {
  const wait = waitFor(never, () => 7, Number.POSITIVE_INFINITY)
  await vi.advanceTimersByTimeAsync(1_000_000_000)
  expect(wait.result).toBeUndefined()
})
