import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { StreamError, type StreamTimeouts, TimeoutCoordinator, timeoutProfiles } from '../../src/index.js'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** Lets time pass, and the event loop turn. */
const pass = (durationMs: number) => vi.advanceTimersByTimeAsync(durationMs)

describe('phases', () => {
  test('connect, while a connection is being made and no longer', async () => {
    const late = new TimeoutCoordinator({ connectMs: 100 })
    late.connecting()
    expect(late.phase).toBe('connect')
    await pass(102)
    expect(late.reason).toMatchObject({ outcome: 'timeout', phase: 'connect', timeoutMs: 100, status: 504 })

    const connected = new TimeoutCoordinator({ connectMs: 100 })
    connected.connecting()
    connected.connected()
    expect(connected.phase).toBe('firstByte')
    await pass(5_000)
    expect(connected.settled).toBe(false)
    connected[Symbol.dispose]()
  })

  test('firstByte, until the first touch', async () => {
    const silent = new TimeoutCoordinator({ firstByteMs: 1_000 })
    await pass(1_002)
    expect(silent.reason).toMatchObject({ phase: 'firstByte', code: 'upstream_first_byte_timeout' })

    const begun = new TimeoutCoordinator({ firstByteMs: 1_000, inactivityMs: 5_000 })
    await pass(900)
    begun.touch()
    await pass(4_000)
    expect(begun.settled).toBe(false)
    expect(begun.ttfbMs).toBe(900)
    begun[Symbol.dispose]()
  })

  test('inactivity, reset by every touch', async () => {
    const timeouts = new TimeoutCoordinator({ inactivityMs: 1_000 })
    for (let touches = 0; touches < 20; touches++) {
      timeouts.touch()
      await pass(900)
    }
    expect(timeouts.settled).toBe(false)
    expect(timeouts.phase).toBe('inactivity')
    expect(timeouts.maxGapMs).toBe(900)
    await pass(200)
    expect(timeouts.reason).toMatchObject({ phase: 'inactivity' })
  })

  test('firstEvent and upstreamStall: touches do not count, content does', async () => {
    const pinging = new TimeoutCoordinator({ firstByteMs: 1_000, firstEventMs: 1_000 })
    pinging.touch()
    await pass(1_002)
    expect(pinging.reason).toMatchObject({ phase: 'firstEvent' })

    const stalled = new TimeoutCoordinator({ inactivityMs: 1_000, upstreamStallMs: 3_000 })
    for (let pings = 0; pings < 6; pings++) {
      stalled.touch()
      if (pings < 3) stalled.content()
      await pass(900)
    }
    expect(stalled.reason).toMatchObject({ phase: 'upstreamStall', timeoutMs: 3_000 })
  })

  test('total: nothing extends it', async () => {
    const timeouts = new TimeoutCoordinator({ totalMs: 10_000 })
    for (let passed = 0; passed < 10_000; passed += 500) {
      timeouts.touch()
      await pass(500)
    }
    await pass(2)
    expect(timeouts.reason).toMatchObject({ phase: 'total', code: 'request_timeout_total' })
  })

  test('FM-28: while the client catches up the upstream is not blamed; drain counts instead', async () => {
    const timeouts = new TimeoutCoordinator({ inactivityMs: 1_000, clientStallMs: 5_000 })
    timeouts.touch()
    let taken = 0
    timeouts.drainStarted(() => taken)
    expect(timeouts.phase).toBe('clientStall')
    for (let looks = 0; looks < 5; looks++) {
      await pass(4_900)
      taken += 10
    }
    expect(timeouts.settled).toBe(false)
    timeouts.drainEnded()
    await pass(900)
    expect(timeouts.settled).toBe(false)
    await pass(200)
    expect(timeouts.reason).toMatchObject({ phase: 'inactivity' })
  })

  test('FM-27: a client that takes nothing is stalled, whatever the upstream does', async () => {
    const timeouts = new TimeoutCoordinator({ inactivityMs: 1_000, clientStallMs: 5_000 })
    timeouts.touch()
    timeouts.drainStarted(() => 100)
    await pass(5_002)
    expect(timeouts.reason).toMatchObject({ outcome: 'client_stalled', phase: 'clientStall' })
  })

  test('FM-27: bytes that the client read at first make its time a tenth longer, and not twice as long', async () => {
    const timeouts = new TimeoutCoordinator({ clientStallMs: 5_000 })
    timeouts.touch()
    let taken = 0
    timeouts.drainStarted(() => taken)
    await pass(100)
    taken = 64 * 1024
    await pass(4_902)
    expect(timeouts.settled).toBe(false)
    await pass(550)
    expect(timeouts.reason).toMatchObject({ outcome: 'client_stalled', phase: 'clientStall' })
  })

  test('a finished answer waits for the client alone', async () => {
    const timeouts = new TimeoutCoordinator({ inactivityMs: 1_000, totalMs: 2_000 })
    timeouts.touch()
    timeouts.finished()
    await pass(60_000)
    expect(timeouts.settled).toBe(false)
    timeouts[Symbol.dispose]()
  })
})

describe('expiry is provisional', () => {
  test('FM-09: data that had come while the process was busy is seen first', async () => {
    const timeouts = new TimeoutCoordinator({ inactivityMs: 1_000 })
    timeouts.touch()
    // The input is handled in the poll phase, between the two hops.
    setTimeout(() => setImmediate(() => timeouts.touch()), 999)
    vi.advanceTimersByTime(1_000)
    await pass(900)
    expect(timeouts.settled).toBe(false)
    timeouts[Symbol.dispose]()
  })

  test('FM-10: completion within those hops is completion', async () => {
    const timeouts = new TimeoutCoordinator({ totalMs: 1_000 })
    setTimeout(() => setImmediate(() => timeouts.settle()), 999)
    await pass(1_100)
    expect(timeouts.settled).toBe(true)
    expect(timeouts.reason).toBeUndefined()
    expect(timeouts.signal.aborted).toBe(false)
  })

  describe('a timer that is late says that the process has stood still', () => {
    beforeEach(() => {
      const punctual = setTimeout
      vi.stubGlobal('setTimeout', (callback: () => void, delayMs: number) =>
        punctual(callback, delayMs + 400),
      )
    })
    afterEach(() => void vi.unstubAllGlobals())

    test('data that comes some turns later still counts', async () => {
      const timeouts = new TimeoutCoordinator({ inactivityMs: 1_000 })
      timeouts.touch()
      await pass(1_500)
      expect(timeouts.settled).toBe(false)
      timeouts.touch()
      await pass(900)
      expect(timeouts.settled).toBe(false)
      timeouts.settle()
    })

    test('data that does not come is late', async () => {
      const timeouts = new TimeoutCoordinator({ inactivityMs: 1_000 })
      timeouts.touch()
      await pass(1_500 + 802)
      expect(timeouts.reason).toMatchObject({ phase: 'inactivity' })
    })

    test('a beforeTimeout that puts the same timeouts in force again does not delay the deadline', async () => {
      let asked = 0
      const timeouts: TimeoutCoordinator = new TimeoutCoordinator(
        { inactivityMs: 1_000 },
        {
          beforeTimeout() {
            asked++
            timeouts.retime(timeouts.timeouts)
          },
        },
      )
      timeouts.touch()
      await pass(1_500 + 802)
      expect(timeouts.reason).toMatchObject({ phase: 'inactivity' })
      expect(asked).toBe(2)
    })

    test('total: nothing extends it', async () => {
      const timeouts = new TimeoutCoordinator({ totalMs: 1_000, inactivityMs: false })
      timeouts.touch()
      await pass(1_500)
      expect(timeouts.reason).toMatchObject({ phase: 'total' })
    })
  })

  test('of several deadlines on one instant the more telling one is reported', async () => {
    const timeouts = new TimeoutCoordinator({ connectMs: 1_000, firstByteMs: 1_000, totalMs: 1_000 })
    timeouts.connecting()
    await pass(1_002)
    expect(timeouts.reason).toMatchObject({ phase: 'connect' })
  })
})

describe('the latch', () => {
  test('the first outcome stays; later ones are kept aside, eight at most', () => {
    const timeouts = new TimeoutCoordinator()
    const first = new StreamError('client_gone')
    expect(timeouts.settle(first)).toBe(true)
    for (let late = 0; late < 20; late++)
      expect(timeouts.settle(new StreamError('upstream_hangup'))).toBe(false)
    expect(timeouts.settle(first)).toBe(false)
    expect(timeouts.settle()).toBe(false)
    expect(timeouts.reason).toBe(first)
    expect(timeouts.suppressed).toHaveLength(8)
  })

  test('settling aborts the signal with the reason, then tells; completing leaves it quiet', () => {
    const timeouts = new TimeoutCoordinator()
    const seen: unknown[] = []
    timeouts.onSettled((reason) => seen.push(timeouts.signal.aborted, reason))
    const reason = new StreamError('shutdown')
    timeouts.settle(reason)
    expect(seen).toEqual([true, reason])
    expect(timeouts.signal.reason).toBe(reason)
    const completed = new TimeoutCoordinator()
    completed.settle()
    expect(completed.signal.aborted).toBe(false)
  })

  test('each listener hears of the outcome, in the order they came', () => {
    const timeouts = new TimeoutCoordinator()
    const heard: string[] = []
    for (const name of ['first', 'second', 'third']) timeouts.onSettled(() => heard.push(name))
    timeouts.settle()
    expect(heard).toEqual(['first', 'second', 'third'])
  })

  test('a signal asked for afterwards knows', () => {
    const timeouts = new TimeoutCoordinator()
    timeouts.settle(new StreamError('shutdown'))
    expect(timeouts.signal.aborted).toBe(true)
  })

  test('dispose aborts streams without an outcome, and nothing else', () => {
    const timeouts = new TimeoutCoordinator()
    timeouts[Symbol.dispose]()
    expect(timeouts.reason).toMatchObject({ outcome: 'aborted' })
    const completed = new TimeoutCoordinator()
    completed.settle()
    completed[Symbol.dispose]()
    expect(completed.reason).toBeUndefined()
  })

  test('nothing moves after it', async () => {
    const timeouts = new TimeoutCoordinator({ inactivityMs: 1_000, clientStallMs: 1_000 })
    timeouts.settle()
    timeouts.touch()
    timeouts.connecting()
    timeouts.drainStarted(() => 1)
    await pass(10_000)
    expect(timeouts.reason).toBeUndefined()
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('the caller’s signal', () => {
  test('FM-32: one that has aborted already', () => {
    const timeouts = new TimeoutCoordinator({}, { signal: AbortSignal.abort('why') })
    expect(timeouts.reason).toMatchObject({ outcome: 'aborted', cause: 'why' })
  })

  test('has one listener, and none afterwards', () => {
    const controller = new AbortController()
    const added = vi.spyOn(controller.signal, 'addEventListener')
    const removed = vi.spyOn(controller.signal, 'removeEventListener')
    const timeouts = new TimeoutCoordinator({}, { signal: controller.signal })
    expect(added).toHaveBeenCalledTimes(1)
    timeouts.settle()
    expect(removed).toHaveBeenCalledTimes(1)
    expect(removed.mock.calls[0]?.[1]).toBe(added.mock.calls[0]?.[1])
  })
})

describe('run', () => {
  test('gives the result, or the reason as soon as there is one', async () => {
    const timeouts = new TimeoutCoordinator({ totalMs: 1_000, firstByteMs: false })
    expect(await timeouts.run(Promise.resolve(7))).toBe(7)
    await expect(timeouts.run(Promise.reject(new Error('no')))).rejects.toThrow('no')
    const waiting = expect(timeouts.run(new Promise(() => {}))).rejects.toMatchObject({ phase: 'total' })
    await pass(1_002)
    await waiting
    await expect(timeouts.run(Promise.reject(new Error('late')))).rejects.toMatchObject({ phase: 'total' })
  })
})

describe('one timer', () => {
  test('however many deadlines and touches', async () => {
    const timeouts = new TimeoutCoordinator({ inactivityMs: 1_000, upstreamStallMs: 5_000 })
    const set = vi.spyOn(globalThis, 'setTimeout')
    timeouts.touch()
    const armed = set.mock.calls.length
    for (let touches = 0; touches < 10_000; touches++) timeouts.touch()
    expect(set.mock.calls.length).toBe(armed)
    expect(vi.getTimerCount()).toBe(1)
    timeouts.settle()
    expect(vi.getTimerCount()).toBe(0)
  })

  test('FM-46: 40 days do not fire after a millisecond', async () => {
    const day = 24 * 3_600_000
    const timeouts = new TimeoutCoordinator({ totalMs: 40 * day, firstByteMs: 39 * day })
    timeouts.touch()
    timeouts.drainStarted(() => 0)
    timeouts.drainEnded()
    const quiet = new TimeoutCoordinator({ totalMs: 40 * day, firstByteMs: 40 * day, connectMs: 40 * day })
    await pass(39 * day)
    expect(quiet.settled).toBe(false)
    await pass(day + 2)
    expect(quiet.reason).toMatchObject({ outcome: 'timeout' })
    timeouts[Symbol.dispose]()
  })

  test('Infinity and false are never', async () => {
    const timeouts = new TimeoutCoordinator(false)
    expect(vi.getTimerCount()).toBe(0)
    timeouts.touch()
    expect(vi.getTimerCount()).toBe(0)
    const some: StreamTimeouts = {
      firstByteMs: false,
      totalMs: Number.POSITIVE_INFINITY,
      inactivityMs: false,
    }
    const off = new TimeoutCoordinator(some)
    await pass(24 * 3_600_000)
    expect(off.settled).toBe(false)
    off.settle()
    timeouts.settle()
  })
})

describe('the defaults', () => {
  test('are the streaming profile', () => {
    expect(new TimeoutCoordinator().timeouts).toEqual(timeoutProfiles.streaming)
  })

  test.each<[StreamTimeouts, Partial<StreamTimeouts>]>([
    [{ totalMs: 5_000 }, { connectMs: 5_000, firstByteMs: 5_000, inactivityMs: 5_000, clientStallMs: 5_000 }],
    [{ firstByteMs: 2_000 }, { connectMs: 2_000, totalMs: 300_000 }],
    [{ firstByteMs: 400_000 }, { totalMs: 580_000 }],
    [{ firstEventMs: 60_000 }, { firstByteMs: 60_000 }],
    [{ upstreamStallMs: 30_000 }, { inactivityMs: 30_000 }],
    [{ inactivityMs: 600_000 }, { inactivityMs: 600_000, totalMs: 900_000 }],
  ])('give way to %j', (timeouts, expected) => {
    expect(new TimeoutCoordinator(timeouts).timeouts).toMatchObject({ ...timeouts, ...expected })
  })
})

describe('FM-45: a value that makes no sense is refused, by name and value', () => {
  test.each<[unknown, string]>([
    [
      { totalMs: 0 },
      'timeouts.totalMs must be a number of milliseconds above 0, or false or Infinity for never; got 0',
    ],
    [{ totalMs: -1 }, 'got -1'],
    [
      { inactivityMs: Number.NaN },
      'timeouts.inactivityMs must be a number of milliseconds above 0, or false or Infinity for never; got NaN',
    ],
    [{ connectMs: '5000' }, 'got "5000"'],
    [{ connectMs: null }, 'got null'],
    [{ connectMs: true }, 'got true'],
    [{ max: 5 }, 'timeouts.max is not an option; did you mean totalMs?'],
    [{ totlaMs: 5 }, 'timeouts.totlaMs is not an option; did you mean totalMs?'],
    [7, "timeouts must be an object, false or a profile ('standard', 'streaming', 'advanced'), got 7"],
    [
      { connectMs: 2_000, firstByteMs: 1_000 },
      'timeouts.connectMs (2000) must not be longer than timeouts.firstByteMs (1000)',
    ],
    [
      { firstByteMs: 2_000, totalMs: 1_000 },
      'timeouts.firstByteMs (2000) must not be longer than timeouts.totalMs (1000)',
    ],
    [
      { inactivityMs: 2_000, upstreamStallMs: 1_000 },
      'timeouts.inactivityMs (2000) must not be longer than timeouts.upstreamStallMs (1000)',
    ],
  ])('%j', (timeouts, message) => {
    expect(() => new TimeoutCoordinator(timeouts as StreamTimeouts)).toThrow(message)
  })

  test('two values that were set and can never pass are warned of, once', () => {
    const warning = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    for (let times = 0; times < 3; times++)
      new TimeoutCoordinator({ inactivityMs: 7_777, totalMs: 7_777 }).settle()
    expect(warning).toHaveBeenCalledTimes(1)
    expect(warning.mock.calls[0]?.[0]).toContain('timeouts.inactivityMs (7777) has no effect')
  })
})
