// What deadlines cost, for each event and for each stream.
import { TimeoutCoordinator } from '../../src/timeouts/timeout-coordinator.ts'

const timeoutMs = 60_000
const ignore = () => {}

let cleared = setTimeout(ignore, timeoutMs)
const refreshed = setTimeout(ignore, timeoutMs)
const coordinator = new TimeoutCoordinator()

export const comparisons = [
  {
    title: 'an event has come',
    plain: () => {
      clearTimeout(cleared)
      cleared = setTimeout(ignore, timeoutMs)
    },
    candidates: {
      'timer.refresh()': () => refreshed.refresh(),
      'TimeoutCoordinator.touch()': () => coordinator.touch(),
    },
  },
  {
    title: 'a stream comes and goes',
    plain: () => {
      const timers = [setTimeout(ignore, 10_000), setTimeout(ignore, 60_000), setTimeout(ignore, 300_000)]
      for (const timer of timers) clearTimeout(timer)
    },
    candidates: {
      TimeoutCoordinator: () => new TimeoutCoordinator()[Symbol.dispose](),
      'AbortSignal.any, .timeout': () =>
        AbortSignal.any([AbortSignal.timeout(10_000), new AbortController().signal]),
    },
  },
]
