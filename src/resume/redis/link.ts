/** A part of a command. */
export type RedisArgument = string | Buffer

/** The reply to a command; strings come as bytes. */
export type RedisReply = Buffer | string | number | null | RedisReply[]

/** A connection of node-redis or ioredis, in the few words that the store needs. */
export interface RedisLink {
  /** Whether a command would be written now, as far as the client knows. */
  readonly isReady: boolean
  /** Sends a command; `key` says to which node of a cluster. */
  send(key: string, command: readonly RedisArgument[]): Promise<RedisReply>
  /** Calls back each time the client has connected. */
  onReady(listener: () => void): void
  /** Whether it is a cluster, where `PUBLISH` counts only the subscribers of one node. */
  readonly isCluster: boolean
  /** Whether the client can subscribe to the channels of one shard. */
  readonly canShard: boolean
  /** Opens what subscribes; the first call alone does. */
  openSubscriber(sharded: boolean): RedisSubscriber
}

/** The one connection (in a cluster, one for each shard) on which a process hears. */
export interface RedisSubscriber {
  /** Resolves once Redis has confirmed it. */
  subscribe(channel: string, heard: (message: Buffer) => void): Promise<void>
  unsubscribe(channel: string): Promise<void>
  /** Calls back each time it has connected again: what was published before is lost. */
  onReady(listener: () => void): void
}
