import { producerLost } from '../stored-ends.js'
import type { AboutRecording } from './about.js'
import { processOf } from './keys.js'
import type { RedisLog } from './log.js'
import type { RedisShared } from './shared.js'
import { writeTailEnd } from './tail.js'

/**
 * Ends the stream of a process that is gone; of all its readers, one does.
 *
 * @returns `alive`: it is not gone. `ended`: the end is there. `refused`: Redis, full perhaps, did not take it
 */
export async function endLost(
  { channels, leases, keys }: RedisShared,
  log: RedisLog,
  { run, about }: AboutRecording,
): Promise<'alive' | 'ended' | 'refused'> {
  // The follower may have seen it long ago, if its client reads slowly.
  if (!(await leases.isGone(keys.lease(processOf(run))))) return 'alive'
  const last = await log.last()
  if (last && 'end' in last) return 'ended'
  const end = { ...producerLost, last: last?.last ?? 0 }
  const added = await log.end(end)
  if (added === 'failed') return 'refused'
  if (added === 'added') {
    log.keepFor(about.limits.ttlMs).catch(() => {})
    void channels.publish(log.keys.tail, writeTailEnd(log.sealEnd(end)))
  }
  return 'ended'
}
