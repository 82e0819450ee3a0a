import { afterEach, describe, expect, test, vi } from 'vitest'

afterEach(() => void vi.useRealTimers())

describe('the clock', () => {
  const silent = async () => {
    const { TimeoutCoordinator } = await import('../../src/timeouts/timeout-coordinator.js')
    const timeouts = new TimeoutCoordinator({ firstByteMs: 1_000 })
    await vi.advanceTimersByTimeAsync(1_002)
    return timeouts.reason
  }

  test('is the fake one that was there before the library', async () => {
    vi.useFakeTimers()
    vi.resetModules()
    expect(await silent()).toMatchObject({ outcome: 'timeout' })
  })

  test('is the fake one that came later', async () => {
    vi.resetModules()
    await import('../../src/timeouts/timeout-coordinator.js')
    vi.useFakeTimers()
    expect(await silent()).toMatchObject({ outcome: 'timeout' })
  })
})
