import { shown } from '../../errors/bad-input.js'
import { ioRedisLink } from './ioredis.js'
import type { RedisLink } from './link.js'
import { nodeRedisLink } from './node-redis.js'

/** A client of `redis` 4, 5 or 6: what `createClient` or `createCluster` returns, connected. */
export interface NodeRedisLike {
  /** Sends one command. */
  sendCommand(...args: never[]): Promise<unknown>
  /** Listens on a channel. */
  subscribe(...args: never[]): Promise<unknown>
  /** Makes the second client, which listens. */
  duplicate(...args: never[]): unknown
  /** Listens for errors and reconnects. */
  on(...args: never[]): unknown
}

/** A client of `ioredis` 5 or 6: a `Redis` or a `Cluster`. */
export interface IORedisLike {
  /** Sends one command, and gets bytes. */
  callBuffer(...args: never[]): Promise<unknown>
  /** Listens on a channel. */
  subscribe(...args: never[]): Promise<unknown>
  /** Makes the second client, which listens. */
  duplicate(...args: never[]): unknown
  /** Listens for errors and reconnects. */
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
