import { expect, test } from 'vitest'
import { soak } from '../support/soak.js'

// `npm run soak` runs it for longer.
const streams = Number(process.env.SOAK_STREAMS ?? 1_500)
const seed = Number(process.env.SOAK_SEED ?? 1)

test(`${streams} streams of seed ${seed}, with faults and clients of every kind: nothing lost, nothing left`, async () => {
  const report = await soak(streams, seed)
  if (process.env.SOAK_STREAMS) console.log(report)
  expect(report.wrong).toEqual([])
  expect(report.late).toBeLessThanOrEqual(Math.ceil(streams / 1_000))
  expect(report.left).toEqual({ streams: 0, timers: 0, overflow: 0 })
  // Memory that V8 and the connection pools keep; a stream that left something behind would show a thousand times over.
  expect(report.heapGrowthBytes).toBeLessThan(8 * 1024 * 1024)
}, 3_600_000)
