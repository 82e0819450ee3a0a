import { systemClock } from '../../timeouts/clock.js'
import type { RecordedStream } from '../resume-store.js'
import { producerLost } from '../stored-ends.js'
import { readAbout, writeAbout } from './about.js'
import { processOf } from './keys.js'
import type { RedisLog } from './log.js'
import type { RedisShared } from './shared.js'

/** Replaces what is known of a stream that has ended, unless another process has just done so. */
const replace = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`

/** A client may have the end of its stream a moment before Redis has it: its next one then looks for that end again. */
const endLooks = { count: 5, everyMs: 40 }

/** `new`: it was free. `own`: it was this one's. `replaced`: a stream of this id had ended. `taken`: one is being produced. */
export type Claim = 'new' | 'own' | 'replaced' | 'taken'

/** Which stream, and which recording of it. */
export interface Claimed {
  readonly id: string
  readonly run: string
  readonly about: RecordedStream
}

/** Makes an id the one of this recording. @throws what the client does when Redis is gone */
export async function claimId(shared: RedisShared, { id, run, about }: Claimed): Promise<Claim> {
  const { commands, keys, lifeMs } = shared
  const key = keys.about(id)
  const mine = writeAbout({ run, about, sealedWith: shared.sealedWith })
  for (let attempt = 0; attempt < 3; attempt++) {
    const set = await commands.send(key, 'SET', key, mine, 'NX', 'PX', String(lifeMs))
    if (set !== null) return 'new'
    const found = await commands.send(key, 'GET', key)
    // It has been forgotten in between.
    if (!(found instanceof Buffer)) continue
    const other = readAbout(found).run
    if (other === run) return 'own'
    if (!(await endsSoon(shared, shared.log(id, other), other))) return 'taken'
    if ((await commands.send(key, 'EVAL', replace, '1', key, found, mine, String(lifeMs))) === 1)
      return 'replaced'
  }
  return 'taken'
}

/** Whether the recording has ended, or does so within a few looks: its producer is gone if all of them say so. */
async function endsSoon({ leases, keys }: RedisShared, log: RedisLog, run: string): Promise<boolean> {
  const lease = keys.lease(processOf(run))
  let isLost = true
  let had = 0
  for (let look = 1; look <= endLooks.count; look++) {
    if (look > 1) await new Promise<void>((resolve) => systemClock.setTimeout(resolve, endLooks.everyMs))
    const last = await log.last()
    if (last && 'end' in last) return true
    had = last?.last ?? 0
    isLost &&= await leases.isGone(lease)
  }
  return isLost && (await log.end({ ...producerLost, last: had })) !== 'failed'
}
