// Targets take turns, round by round, so that whatever the machine does meanwhile happens to all of them.
import { msPerEvent, startsWithinMs } from './formats.mjs'
import { markerOf } from './kinds.mjs'
import { cores, cpuOf, startProcess, stopProcess } from './processes.mjs'
import { quartiles } from './quantile.mjs'

export function startTarget(name, upstream, execArgv = []) {
  const file = name === 'nginx' ? 'nginx.mjs' : 'target.mjs'
  return startProcess(file, { args: [name, upstream.port], execArgv, core: cores.proxy })
}

/**
 * The targets of one kind; a peer that fails is reported and left out, ours fails the run. Each measurement has a fresh
 * process, unless it has to be quick: of two that stay and run the same code, one may cost an eighth more than the other
 * for as long as they live.
 */
export class Contest {
  #running = new Map()
  #staysRunning
  #peers
  #surroundings
  #execArgvOf

  constructor({ peers, quick }, surroundings, execArgvOf) {
    this.#staysRunning = quick
    this.#peers = peers
    this.#surroundings = surroundings
    this.#execArgvOf = execArgvOf
  }

  /** @returns one result for each target, the floor first */
  async run({ kind, targets }, { name: profile, text, load, warmUp }, rounds) {
    const standing = new Map(targets.map((name) => [name, []]))
    const failures = new Map()
    for (let round = 0; round < rounds; round++) {
      for (const name of round % 2 === 0 ? targets : targets.toReversed()) {
        if (failures.has(name)) continue
        try {
          if (round === 0 || !this.#staysRunning)
            await this.#measure(name, { kind, profile, text, ...warmUp })
          standing.get(name).push(await this.#measure(name, { kind, profile, text, ...load }))
        } catch (error) {
          if (!this.#peers.includes(name)) throw error
          failures.set(name, error.message)
        }
        // Memory that a failed one still holds must not weigh on the next profile.
        if (failures.has(name) || !this.#staysRunning) await this.#stop(name)
      }
    }
    const floor = standing.get(targets[0])
    const { per } = load
    return targets.map((name) => {
      const failed = failures.get(name)
      const figures = failed === undefined ? compare(standing.get(name), floor) : { failed }
      return { kind, profile, text, per, name, ...figures }
    })
  }

  async #measure(name, load) {
    const { kind, profile, text, lanes, answersPerLane, events, per } = load
    const target = await this.#start(name)
    const path = `/v1/chat/completions?kind=${kind}&text=${text}&profile=${profile}&events=${events}`
    const before = cpuOf(target)
    const from = performance.now()
    const job = { ...load, path, port: target.port, marker: markerOf(name) }
    const { failed, fault, latency } = await this.#surroundings.run('load', job)
    const streams = lanes * answersPerLane
    if (failed > 0) throw new Error(`${name}, ${profile}, ${text}: ${failed} of ${streams} streams: ${fault}`)
    const used = cpuOf(target) - before
    const tookMs = performance.now() - from
    const cpu = used / (per === 'stream' ? streams : streams * events)
    // Where a busy machine holds events up, they come together, and cost less than they would.
    const pace = load.timed ? (events * msPerEvent + startsWithinMs) / tookMs : undefined
    return { cpu, busy: used / 1e6 / tookMs, pace, latency }
  }

  async #start(name) {
    if (!this.#running.has(name)) {
      this.#running.set(name, await startTarget(name, this.#surroundings.upstream, this.#execArgvOf(name)))
    }
    return this.#running.get(name)
  }

  async #stop(name) {
    const target = this.#running.get(name)
    this.#running.delete(name)
    if (target) await stopProcess(target)
  }

  stop() {
    return Promise.all([...this.#running.keys()].map((name) => this.#stop(name)))
  }
}

/** Ratios to the floor in the same round, and what share of its core the target used. */
function compare(rounds, floor) {
  const middle = (figure) => quartiles(rounds.map(figure)).median
  const ratio = (figure) =>
    quartiles(rounds.map((measured, round) => figure(measured) / figure(floor[round])))
  const { median, from, to } = ratio(({ cpu }) => cpu)
  const latency = rounds[0].latency && {
    p50: ratio(({ latency }) => latency.p50).median,
    p99: ratio(({ latency }) => latency.p99).median,
  }
  const nanoseconds = middle(({ cpu }) => cpu)
  const busy = middle(({ busy }) => busy)
  const pace = rounds[0].pace && Math.min(...rounds.map(({ pace }) => pace))
  return { ratio: median, from, to, nanoseconds, busy, pace, latency }
}
