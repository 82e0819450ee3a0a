import { shown } from '../../errors/bad-input.js'
import { ioRedisLink } from './ioredis.js'
import type { RedisLink } from './link.js'
import { nodeRedisLink } from './node-redis.js'

/** A client of `redis` 4, 5 or 6: what `createClient` or `createCluster` returns, connected. */
export interface NodeRedisLike {
  sendCommand(...args: never[]): Promise<unknown>
  subscribe(...args: never[]): Promise<unknown>
  duplicate(...args: never[]): unknown
  on(...args: never[]): unknown
}

/** A client of `ioredis` 5 or 6: a `Redis` or a `Cluster`. */
export interface IORedisLike {
  callBuffer(...args: never[]): Promise<unknown>
  subscribe(...args: never[]): Promise<unknown>
  duplicate(...args: never[]): unknown
  on(...args: never[]): unknown
}

/** @throws TypeError for anything but a client of one of the two packages */
export function linkTo(client: NodeRedisLike | IORedisLike): RedisLink {
  const has = (...names: string[]) => names.every((name) => typeof Object(client)[name] === 'function')
  if (has('callBuffer', 'duplicate', 'subscribe')) return ioRedisLink(client)
  // A pool has no `duplicate`, and what `createSentinel` returns takes a command in another form.
  if (has('sendCommand', 'duplicate', 'subscribe') && !has('getSentinelNode')) return nodeRedisLink(client)
  throw new TypeError(
    `client must be a client or a cluster of redis or ioredis, got ${shown(client)}; write redisStore(createClient())`,
  )
}
