// CPU of open streams on which nothing happens. No heartbeat falls into the time that is measured: it is not due
// for two minutes, so that what is counted is the clock and not the writes; the bytes that arrived prove it.
import { cpuOf } from '../rig/processes.mjs'
import { onStage } from './stage.mjs'

export const title = 'CPU of idle streams, percent of a core; bytes that arrived meanwhile'

export function measure(name, { streams, seconds }) {
  return onStage(name, async ({ target, run, memory }) => {
    await run('open', { profile: 'idle', streams })
    // Collects what opening them has left.
    await memory()
    const { received } = await run('received')
    const before = cpuOf(target)
    const from = performance.now()
    await new Promise((resolve) => setTimeout(resolve, seconds * 1_000))
    const used = (cpuOf(target) - before) / 1e6
    const percent = (100 * used) / (performance.now() - from)
    return { percent, bytes: (await run('received')).received - received }
  })
}

export function describe({ percent, bytes }) {
  return `${percent.toFixed(3).padStart(8)} %  ${bytes} bytes`
}
