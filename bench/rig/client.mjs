// The load client of the bench, as its own process: raw sockets, and every event counted.
import { setTimeout as after } from 'node:timers/promises'
import { readAnswer } from './client-answer.mjs'
import { idleTasks } from './client-idle.mjs'
import { startsWithinMs } from './formats.mjs'
import { quantile } from './quantile.mjs'

const run = {
  /** So many lanes side by side, each reading so many answers one after the other. */
  async load(job) {
    const latencies = []
    const faults = []
    const lane = async (number) => {
      // Clients do not all come in one moment: what many starts at once cost is another profile, `short`.
      if (job.timed) await after((number * startsWithinMs) / job.lanes)
      for (let answer = 0; answer < job.answersPerLane; answer++) {
        const { fault, latencies: found } = await readAnswer(job)
        if (fault) faults.push(fault)
        for (const latency of found) latencies.push(latency)
      }
    }
    await Promise.all(Array.from({ length: job.lanes }, (_, number) => lane(number)))
    latencies.sort((a, b) => a - b)
    const latency = latencies.length > 0 && { p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99) }
    return { failed: faults.length, fault: faults[0], latency }
  },
  ...idleTasks(),
}

process.on('message', async ({ id, task, ...job }) => process.send({ id, result: await run[task](job) }))
process.on('disconnect', () => process.exit())
process.send({ ready: true })
