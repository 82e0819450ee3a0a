// One target with an upstream and a client of its own: what one left behind must not weigh on the next.
import { kinds, markerOf, targetsOf } from '../rig/kinds.mjs'
import { ask, startSurroundings, stopProcess } from '../rig/processes.mjs'
import { startTarget } from '../rig/rounds.mjs'

const warmUpStreams = { profile: 'short', events: 5, lanes: 10, answersPerLane: 20 }

export function kindOf(name) {
  // The ones of the clock are no targets of a contest.
  if (name.startsWith('clock-')) return 'pass-through'
  return Object.keys(kinds).find((kind) => targetsOf(kinds[kind]).includes(name))
}

/** @param use gets the stage; the target's first streams have been served and let go */
export async function onStage(name, use) {
  const surroundings = await startSurroundings()
  const target = await startTarget(name, surroundings.upstream, ['--expose-gc'])
  const job = ({ profile, events = 1, ...more }) => ({
    port: target.port,
    path: `/v1/chat/completions?kind=${kindOf(name)}&text=ascii&profile=${profile}&events=${events}`,
    marker: markerOf(name),
    text: 'ascii',
    limitMs: 60_000,
    events,
    ...more,
  })
  const run = async (task, more) => {
    const result = await surroundings.run(task, more && job(more))
    if (result.fault) throw new Error(result.fault)
    return result
  }
  try {
    await run('load', warmUpStreams)
    return await use({
      target,
      run,
      memory: () => ask(target),
      upstream: () => ask(surroundings.upstream),
    })
  } finally {
    await Promise.all([surroundings.stop(), stopProcess(target)])
  }
}

const pollEveryMs = 250

/**
 * Looks again and again until `settled` says so, or for `limitMs`.
 *
 * @returns all that was seen
 */
export async function watch(look, settled, limitMs) {
  const seen = [await look()]
  for (const end = performance.now() + limitMs; !settled(seen) && performance.now() < end; ) {
    await new Promise((resolve) => setTimeout(resolve, pollEveryMs))
    seen.push(await look())
  }
  return seen
}
