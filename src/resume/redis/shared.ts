import type { RedisChannels } from './channels.js'
import type { RedisCommands } from './commands.js'
import type { FlushQueue } from './flush-queue.js'
import type { RedisKeys } from './keys.js'
import type { RedisLeaseWatch } from './lease-watch.js'
import type { RedisLog } from './log.js'
import type { RedisProcess } from './process.js'

/** The parts that all streams of one store share. */
export interface RedisShared {
  readonly commands: RedisCommands
  readonly channels: RedisChannels
  readonly keys: RedisKeys
  readonly process: RedisProcess
  readonly leases: RedisLeaseWatch
  readonly queue: FlushQueue
  readonly leaseMs: number
  /** How long Redis keeps a stream of which no process says anything. */
  readonly lifeMs: number
  /** How many characters of all streams Redis has not confirmed. */
  readonly unconfirmed: { length: number }
  /** Ends that Redis has not taken in time, of all streams. */
  readonly lateEnds: { count: number }
  /** The name of the key that everything is sealed with. */
  readonly sealedWith: string | undefined
  log(id: string, run: string): RedisLog
}
