import { within } from '../../timeouts/clock.js'
import type {
  Followed,
  FoundStream,
  RecordedStream,
  Recorder,
  RecorderEvents,
  ResumeStore,
  StoredEnd,
} from '../resume-store.js'
import { forgotten, StreamIdTaken } from '../stored-ends.js'
import type { AboutRecording } from './about.js'
import { RedisChannels } from './channels.js'
import type { Claim } from './claim.js'
import { type IORedisLike, linkTo, type NodeRedisLike } from './clients.js'
import { RedisCommands } from './commands.js'
import { FlushQueue } from './flush-queue.js'
import { RedisFollower } from './follower.js'
import { processOf, RedisKeys } from './keys.js'
import { RedisLeaseWatch } from './lease-watch.js'
import { type LogEnd, RedisLog } from './log.js'
import { nameOfKey, Packing } from './packing.js'
import { RedisProcess } from './process.js'
import { RedisRecorder } from './recorder.js'
import type { RedisShared } from './shared.js'
import { type RedisStoreOptions, readStoreOptions } from './store-options.js'
import { findAbout } from './stored-about.js'

/** How long a stream waits for Redis before it begins; whether its id is free then turns out later. */
const claimMs = 500
/** How long Redis keeps a stream of which no process says anything. */
const lifeMs = 600_000

/**
 * Keeps streams in Redis 6.2 or later, or in Valkey: a client can rejoin its stream in every process.
 *
 * @param client a connected client of `redis` 4 to 6 or `ioredis` 5 or 6, or a cluster of one of them. One more
 *   connection is opened to hear on.
 * @throws TypeError for a wrong client or option, by name and value
 * @example
 * const redis = await createClient({ url: 'redis://127.0.0.1' }).connect()
 * const resume = createResume({ store: redisStore(redis), owner: false })
 */
export function redisStore(
  client: NodeRedisLike | IORedisLike,
  options: RedisStoreOptions = {},
): ResumeStore {
  const { flushMs, leaseMs, prefix, seal } = readStoreOptions(options)
  const commands = new RedisCommands(linkTo(client))
  const channels = new RedisChannels(commands)
  const keys = new RedisKeys(prefix)
  return new RedisStore({
    commands,
    channels,
    keys,
    process: new RedisProcess(commands, channels, keys, leaseMs),
    leases: new RedisLeaseWatch(commands, leaseMs),
    queue: new FlushQueue(flushMs),
    leaseMs,
    lifeMs: Math.max(lifeMs, 4 * leaseMs),
    unconfirmed: { length: 0 },
    lateEnds: { count: 0 },
    sealedWith: seal && nameOfKey(seal),
    log: (id, run) => new RedisLog(commands, keys.recording(id, run), new Packing(seal, run)),
  })
}

class RedisStore implements ResumeStore {
  readonly #shared: RedisShared

  constructor(shared: RedisShared) {
    this.#shared = shared
  }

  async record(id: string, about: RecordedStream, events: RecorderEvents): Promise<Recorder> {
    const { process, commands } = this.#shared
    const before = process.find(id)
    // Without Redis its end cannot be recorded, and the next stream does not wait for it.
    if (before?.ending && commands.isOpen) await within(before.ending, claimMs)
    const other = process.find(id)
    if (other && !other.ending) throw new StreamIdTaken()
    const recorder = new RedisRecorder(this.#shared, id, about, events)
    // A process that sees the stream has to see that its process lives.
    const begun = process.add(recorder)
    // Without Redis there is nothing to wait for: the stream goes on as if nothing were to be recorded.
    if (!commands.isOpen) return recorder
    let claim: Claim | undefined
    const claiming = begun
      .then(() => recorder.claim())
      .then(
        (made) => {
          claim = made
        },
        () => {},
      )
    await within(claiming, claimMs)
    if (claim !== 'taken') return recorder
    recorder.abandon()
    throw new StreamIdTaken()
  }

  async find(id: string): Promise<FoundStream | undefined> {
    const found = await findAbout(this.#shared, id)
    if (!found) return undefined
    const log = this.#shared.log(id, found.run)
    const [first, top, last] = await Promise.all([log.first(), log.last(), log.lastEvents()])
    const end = top && 'end' in top ? log.openEnd(top.end) : undefined
    return {
      about: found.about,
      first: first && !('end' in first) ? first.first : 0,
      // The last ones may not have been recorded.
      last: Math.max(last?.last ?? 0, end?.last ?? 0),
      end: end && endOf(end),
    }
  }

  async *follow(id: string, after: number, signal: AbortSignal): AsyncGenerator<Followed, void> {
    if (signal.aborted) return
    const found = await findAbout(this.#shared, id)
    if (signal.aborted) return
    if (found) yield* new RedisFollower(this.#shared, id, found, after, signal).follow()
    else yield { end: forgotten }
  }

  /** Which recording has this id. For one of this process Redis is not needed, and may be gone. */
  async #findFor(own: object | undefined, id: string): Promise<AboutRecording | undefined> {
    try {
      return await findAbout(this.#shared, id)
    } catch (error) {
      if (own) return undefined
      throw error
    }
  }

  async stop(id: string, why = 'stopped'): Promise<boolean> {
    const recording = this.#shared.process.find(id)
    const own = recording?.ending ? undefined : recording
    const found = own?.isClaimed ? undefined : await this.#findFor(own, id)
    if (own && (!found || found.run === own.run)) {
      own.stop(why)
      return true
    }
    if (!found || found.run === recording?.run) return false
    const { run, about } = found
    const log = this.#shared.log(id, run)
    const last = await log.last()
    if (last && 'end' in last) return false
    const heard = await this.#shared.channels.call(
      this.#shared.keys.calls(processOf(run)),
      `stop ${run} ${why}`,
    )
    if (heard !== 0) return true
    // No process heard it: the end alone stops one that may still write.
    await log.end({ outcome: 'aborted', code: 'request_aborted', message: why, last: last?.last ?? 0 })
    await log.keepFor(about.limits.ttlMs)
    return true
  }
}

function endOf({ last: _, ...end }: LogEnd): StoredEnd {
  return end
}
