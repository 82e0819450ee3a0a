import pTimeout from 'p-timeout'

/** The longest delay `setTimeout` keeps; anything longer would fire after 1 ms. */
export const maxDelayMs = 2 ** 31 - 1

export type Timer = ReturnType<typeof setTimeout>

/** The few clock functions the library uses; tests may hand in their own. */
export interface Clock {
  /** Milliseconds on a clock that never jumps. */
  now(): number
  /** May fire early when `delayMs` is longer than a timer can hold: callers look at `now()` again. */
  setTimeout(callback: () => void, delayMs: number): Timer
  /** Takes a timer back. */
  clearTimeout(timer: Timer | undefined): void
  /** Calls back when everything else has had its turn. */
  setImmediate(callback: () => void): void
}

// As they were found, whatever code put them there: they belong together.
const firstSetTimeout = setTimeout
const firstPerformance = performance

/**
 * The process' own clock. Globals are read at call time, so that fake timers installed later are seen; `performance` only
 * where `setTimeout` is another by now: it is an accessor, which costs an event as much as all else about the time.
 */
export const systemClock: Clock = {
  now: () => (setTimeout === firstSetTimeout ? firstPerformance : performance).now(),
  setTimeout(callback, delayMs) {
    const timer = setTimeout(callback, Math.min(Math.max(delayMs, 1), maxDelayMs))
    // Sockets keep the process alive; a deadline alone must not.
    timer.unref?.()
    return timer
  },
  clearTimeout: (timer) => clearTimeout(timer),
  setImmediate: (callback) => {
    if (typeof setImmediate === 'function') setImmediate(callback)
    else setTimeout(callback, 0)
  },
}

/** Calls back when all that has come is seen. Timers run before the poll for input: only after two turns it has been. */
export function afterInput(clock: Clock, callback: () => void): void {
  clock.setImmediate(() => clock.setImmediate(callback))
}

const customTimers = {
  setTimeout: systemClock.setTimeout as typeof setTimeout,
  clearTimeout: systemClock.clearTimeout as typeof clearTimeout,
}

/** As long as a socket needs to hear that there is room again, to write, and to say so. */
export const afterStandstillMs = 50

/** Resolves when everything else has had its turn. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => systemClock.setImmediate(resolve))
}

/** Waits for `work`, which goes on in any case; rejects if it does. @returns whether it was done in time */
export async function within(work: Promise<unknown>, limitMs: number): Promise<boolean> {
  const done = work.then(() => true)
  // Most awaited results are there in a turn: without a timer, and the error p-timeout makes beforehand.
  if (await Promise.race([done, nextTurn()])) return true
  const wait = async (milliseconds: number) =>
    (await pTimeout(done, { milliseconds, message: false, customTimers })) === true
  // After a standstill of the process (a breakpoint, a moved machine) timers run before data that has come meanwhile.
  return (await wait(limitMs)) || (await wait(Math.min(limitMs, afterStandstillMs)))
}
