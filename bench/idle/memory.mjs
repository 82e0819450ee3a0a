// What one open stream on which nothing happens costs, both sockets included.
import { onStage } from './stage.mjs'

export const title = 'memory per idle stream, KiB: RSS, heap, outside the heap'

export function measure(name, { streams }) {
  return onStage(name, async ({ run, memory }) => {
    const before = await memory()
    await run('open', { profile: 'idle', streams })
    const after = await memory()
    const perStream = (figure) => (after[figure] - before[figure]) / streams / 1024
    return { rss: perStream('rss'), heap: perStream('heapUsed'), external: perStream('external') }
  })
}

export function describe({ rss, heap, external }) {
  return [rss, heap, external].map((figure) => figure.toFixed(1).padStart(8)).join('')
}
