import type { RedisArgument, RedisLink, RedisReply, RedisSubscriber } from './link.js'

type OnMessage = (channel: Buffer, message: Buffer) => void

/** The part of a `Redis` or a `Cluster` of ioredis 5 and 6 that is used. */
interface Client {
  readonly status: string
  readonly isCluster?: boolean
  readonly options?: { readonly keyPrefix?: string; readonly shardedSubscribers?: boolean }
  callBuffer(name: string, ...rest: readonly RedisArgument[]): Promise<RedisReply>
  on(event: 'messageBuffer' | 'smessageBuffer', listener: OnMessage): unknown
  on(event: string, listener: () => void): unknown
  subscribe(channel: string): Promise<unknown>
  unsubscribe(channel: string): Promise<unknown>
  ssubscribe(channel: string): Promise<unknown>
  sunsubscribe(channel: string): Promise<unknown>
  disconnect(): void
  duplicate(override: object): Client
  duplicate(nodes: readonly [], override: object): Client
}

export function ioRedisLink(client: unknown): RedisLink {
  return new IORedisLink(client as Client)
}

class IORedisLink implements RedisLink {
  readonly isCluster: boolean
  readonly canShard: boolean
  readonly #client: Client
  /** A client that has just been made connects with the first command, or is about to. */
  #isClosed: boolean

  constructor(client: Client) {
    this.#client = client
    this.#isClosed = !['wait', 'connecting', 'connect', 'ready'].includes(client.status)
    client.on('close', () => {
      this.#isClosed = true
    })
    client.on('ready', () => {
      this.#isClosed = false
    })
    this.isCluster = client.isCluster === true
    // A cluster has its own default among its options, since the release that can do it.
    this.canShard = this.isCluster && client.options?.shardedSubscribers !== undefined
  }

  get isReady(): boolean {
    return !this.#isClosed
  }

  async send(_key: string, [name, ...rest]: readonly RedisArgument[]): Promise<RedisReply> {
    return this.#client.callBuffer(String(name), ...rest)
  }

  onReady(listener: () => void): void {
    this.#client.on('ready', listener)
  }

  openSubscriber(sharded: boolean): RedisSubscriber {
    const override = { lazyConnect: false, autoResubscribe: true, enableOfflineQueue: true }
    const own = this.isCluster
      ? this.#client.duplicate([], { ...override, shardedSubscribers: sharded })
      : this.#client.duplicate({ ...override, maxRetriesPerRequest: null })
    // Without a listener, an error is printed. Here it means only that no message comes for a while.
    own.on('error', () => {})
    // No other code owns it: it would keep a process alive that has closed its own client.
    this.#client.on('end', () => own.disconnect())
    const listeners = new Map<string, (message: Buffer) => void>()
    const prefix = this.#client.options?.keyPrefix ?? ''
    own.on(sharded ? 'smessageBuffer' : 'messageBuffer', (channel, message) => {
      const name = channel.toString()
      // To ioredis a sharded channel is a key, which it puts its prefix before.
      const heard = listeners.get(name) ?? listeners.get(name.slice(prefix.length))
      heard?.(message)
    })
    return {
      subscribe: async (channel, heard) => {
        listeners.set(channel, heard)
        await (sharded ? own.ssubscribe(channel) : own.subscribe(channel))
      },
      unsubscribe: async (channel) => {
        listeners.delete(channel)
        await (sharded ? own.sunsubscribe(channel) : own.unsubscribe(channel))
      },
      onReady: (listener) => void own.on('ready', listener),
    }
  }
}
