import type { RedisArgument, RedisLink, RedisReply, RedisSubscriber } from './link.js'

type Heard = (message: Buffer) => void
type Subscribe = (channel: string, heard: Heard, bytes: true) => Promise<void>
type Unsubscribe = (channel: string) => Promise<void>

/** The part of a client of node-redis 4, 5 and 6 that is used. */
interface Client {
  readonly isOpen: boolean
  readonly isReady?: boolean
  on(event: string, listener: () => void): unknown
  sendCommand(command: readonly RedisArgument[], options: object): Promise<RedisReply>
  subscribe: Subscribe
  unsubscribe: Unsubscribe
  duplicate(): Client
  connect(): Promise<unknown>
  disconnect(): unknown
}

/** … and of a cluster. It keeps a connection for subscriptions itself, one for each shard if they are sharded. */
interface Cluster extends Omit<Client, 'sendCommand'> {
  sendCommand(
    key: string,
    isReadOnly: boolean,
    command: readonly RedisArgument[],
    options: object,
  ): Promise<RedisReply>
  sSubscribe?: Subscribe
  sUnsubscribe?: Unsubscribe
}

/**
 * Strings are returned as bytes: `returnBuffers` in version 4, a mapping of RESP's `$` since 5.
 * Version 6 gives each command a timeout of 5 s, which costs as much as ten commands do.
 */
const options = { returnBuffers: true, typeMapping: { 36: Buffer }, timeout: 0 }

export function nodeRedisLink(client: unknown): RedisLink {
  return Object(client).masters === undefined
    ? new NodeRedisLink(client as Client)
    : new NodeRedisClusterLink(client as Cluster)
}

class NodeRedisLink implements RedisLink {
  readonly isCluster = false
  readonly canShard = false
  readonly #client: Client

  constructor(client: Client) {
    this.#client = client
  }

  get isReady(): boolean {
    return this.#client.isReady ?? true
  }

  async send(_key: string, command: readonly RedisArgument[]): Promise<RedisReply> {
    return this.#client.sendCommand(command, options)
  }

  onReady(listener: () => void): void {
    this.#client.on('ready', listener)
  }

  openSubscriber(): RedisSubscriber {
    const own = this.#client.duplicate()
    // Without a listener, an error of a client ends the process. Here it means only that no message comes for a while.
    own.on('error', () => {})
    let connected: Promise<unknown> | undefined
    // No other code owns it: it would keep a process alive that has closed its own client.
    this.#client.on('end', () => {
      if (connected && own.isOpen) void Promise.resolve(own.disconnect()).catch(() => {})
      connected = undefined
    })
    return {
      subscribe: async (channel, heard) => {
        connected ??= own.connect().catch((error) => {
          connected = undefined
          throw error
        })
        await connected
        await own.subscribe(channel, heard, true)
      },
      unsubscribe: (channel) => own.unsubscribe(channel),
      onReady: (listener) => void own.on('ready', listener),
    }
  }
}

class NodeRedisClusterLink implements RedisLink {
  readonly isCluster = true
  readonly #cluster: Cluster

  constructor(cluster: Cluster) {
    this.#cluster = cluster
  }

  get canShard(): boolean {
    return this.#cluster.sSubscribe !== undefined
  }

  get isReady(): boolean {
    return this.#cluster.isReady ?? this.#cluster.isOpen
  }

  send(key: string, command: readonly RedisArgument[]): Promise<RedisReply> {
    return this.#cluster.sendCommand(key, false, command, options)
  }

  onReady(listener: () => void): void {
    this.#cluster.on('node-ready', listener)
  }

  openSubscriber(sharded: boolean): RedisSubscriber {
    const cluster = this.#cluster
    return {
      subscribe: (channel, heard) =>
        sharded && cluster.sSubscribe
          ? cluster.sSubscribe(channel, heard, true)
          : cluster.subscribe(channel, heard, true),
      unsubscribe: (channel) =>
        sharded && cluster.sUnsubscribe ? cluster.sUnsubscribe(channel) : cluster.unsubscribe(channel),
      onReady: (listener) => void cluster.on('node-ready', listener),
    }
  }
}
