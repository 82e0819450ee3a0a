// What a client costs that has stopped reading, while the upstream sends as much as it is allowed to.
import { onStage, watch } from './stage.mjs'

export const title = 'memory per stalled client, MiB: RSS, heap and buffers, bytes taken from the upstream'

/** About 36 MiB for each client, however they are put: more than the buffers of the kernel take. */
const events = 200_000
const limitMs = 30_000
/** Three seconds: a target may be busy for one. */
const unchangedLooks = 12

export function measure(name, { clients: streams }) {
  return onStage(name, async ({ run, memory, upstream }) => {
    const before = await memory()
    await run('open', { profile: 'blast', events, streams, stalled: true })
    const standsStill = (seen) =>
      seen.at(-1).done === streams ||
      (seen.length > unchangedLooks && seen.at(-1).taken === seen.at(-1 - unchangedLooks).taken)
    const seen = await watch(upstream, standsStill, limitMs)
    const { taken, done } = seen.at(-1)
    const after = await memory()
    const heldBytes = after.heapUsed + after.external - before.heapUsed - before.external
    const perClient = (bytes) => bytes / streams / 2 ** 20
    return {
      rss: perClient(after.rss - before.rss),
      held: perClient(heldBytes),
      taken: perClient(taken),
      verdict: standsStill(seen) ? verdictOf({ done, taken, heldBytes }) : 'not settled in time',
    }
  })
}

function verdictOf({ done, taken, heldBytes }) {
  if (done === 0) return 'bounded'
  return heldBytes > taken / 2 ? 'grows: holds all there was' : 'cut off: the client, not the upstream'
}

export function describe({ rss, held, taken, verdict }) {
  const figures = [rss, held, taken].map((figure) => figure.toFixed(2).padStart(8)).join('')
  return `${figures}  ${verdict}`
}
