import type { RedisChannels } from './redis-channels.js'
import type { RedisCommands } from './redis-commands.js'
import type { FlushQueue } from './redis-flush-queue.js'
import type { RedisKeys } from './redis-keys.js'
import type { RedisLeaseWatch } from './redis-lease-watch.js'
import type { RedisLog } from './redis-log.js'
import type { RedisProcess } from './redis-process.js'

/** What all streams of one store share. */
export interface RedisShared {
  readonly commands: RedisCommands
  readonly channels: RedisChannels
  readonly keys: RedisKeys
  readonly process: RedisProcess
  readonly leases: RedisLeaseWatch
  readonly queue: FlushQueue
  readonly leaseMs: number
  /** How long Redis keeps a stream that nobody says anything of. */
  readonly lifeMs: number
  /** How many characters of all streams Redis has not confirmed. */
  readonly unconfirmed: { length: number }
  /** The name of the key that everything is sealed with. */
  readonly sealedWith: string | undefined
  log(id: string, run: string): RedisLog
}
