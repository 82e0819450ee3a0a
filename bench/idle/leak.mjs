// What is left of streams that are over: 400 whole ones and 100 that the client left, five times.
import { onStage, watch } from './stage.mjs'

export const title =
  'heap in MiB after each cycle of 500 streams; growth in KiB a stream; upstream answers left open'

const cycles = 5
const whole = { profile: 'short', events: 5, lanes: 40, answersPerLane: 10 }
const left = { profile: 'idle', streams: 100 }
const limitMs = 3_000

export function measure(name) {
  return onStage(name, async ({ run, memory, upstream }) => {
    const heap = []
    let open
    for (let cycle = 0; cycle < cycles; cycle++) {
      await run('load', whole)
      await run('open', left)
      await run('close')
      const seen = await watch(upstream, (looks) => looks.at(-1).open === 0, limitMs)
      open = seen.at(-1).open
      heap.push((await memory()).heapUsed)
    }
    const streams = whole.lanes * whole.answersPerLane + left.streams
    // The first cycle fills caches and pools.
    const growth = (heap.at(-1) - heap[0]) / ((cycles - 1) * streams) / 1024
    return { heap: heap.map((bytes) => bytes / 2 ** 20), growth, open }
  })
}

export function describe({ heap, growth, open }) {
  const sizes = heap.map((size) => size.toFixed(2).padStart(7)).join('')
  return `${sizes}  ${growth.toFixed(3).padStart(7)}  ${open} left open`
}
