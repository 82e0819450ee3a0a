import { systemClock, type Timer } from '../../timeouts/clock.js'
import type { RedisCommands } from './commands.js'
import type { RedisSubscriber } from './link.js'

/** After this time, a process that cannot listen tries again. */
const againMs = 1_000

type Heard = (message: Buffer) => void

interface Channel {
  readonly listeners: Set<Heard>
  isSubscribed: boolean
  /** The last command to Redis: one at a time, or the reply to the one before undoes it. */
  subscribed: Promise<void>
}

/** Publishes and listens, on one connection for the whole process (in a cluster, one for each shard). */
export class RedisChannels {
  readonly #commands: RedisCommands
  readonly #channels = new Map<string, Channel>()
  readonly #repeats = new Set<() => void>()
  #opened: Promise<RedisSubscriber> | undefined
  /** Whether the channels of one shard are used; not set until it was tried. */
  #sharded: Promise<boolean> | undefined
  #again: Timer | undefined

  constructor(commands: RedisCommands) {
    this.#commands = commands
  }

  /** @returns how many connections heard it; `undefined` where that is unknown, or Redis is gone */
  async publish(channel: string, message: string | Buffer): Promise<number | undefined> {
    try {
      return await this.#publish('send', channel, message)
    } catch {
      return undefined
    }
  }

  /** Publishes what a caller waits for. @throws Error if Redis refuses it, or does not answer in time */
  call(channel: string, message: string): Promise<number | undefined> {
    return this.#publish('ask', channel, message)
  }

  async #publish(way: 'send' | 'ask', channel: string, message: string | Buffer) {
    const { isCluster } = this.#commands.link
    const command = isCluster && (await this.#isSharded()) ? 'SPUBLISH' : 'PUBLISH'
    const count = await this.#commands[way](channel, command, channel, message)
    return isCluster && command === 'PUBLISH' ? undefined : Number(count)
  }

  /** Hears a channel. @returns when it does, and what ends it */
  listen(name: string, heard: Heard): { readonly heard: Promise<void>; stop(): void } {
    const channel = this.#channels.get(name) ?? newChannel()
    this.#channels.set(name, channel)
    channel.listeners.add(heard)
    if (channel.listeners.size === 1) this.#after(channel, () => this.#subscribe(name, channel))
    return {
      heard: channel.subscribed,
      stop: () => {
        channel.listeners.delete(heard)
        if (channel.listeners.size === 0) this.#after(channel, () => this.#unsubscribe(name, channel))
      },
    }
  }

  /** Calls back when messages may have been missed. @returns what ends it */
  onRepeat(listener: () => void): () => void {
    this.#repeats.add(listener)
    return () => this.#repeats.delete(listener)
  }

  #repeat(): void {
    this.#subscribeAll()
    for (const listener of this.#repeats) listener()
  }

  /** @returns the channels that were not subscribed to */
  #subscribeAll(): Channel[] {
    const silent = [...this.#channels].filter(([, { isSubscribed }]) => !isSubscribed)
    for (const [name, channel] of silent) this.#after(channel, () => this.#subscribe(name, channel))
    return silent.map(([, channel]) => channel)
  }

  #after(channel: Channel, next: () => Promise<void>): void {
    channel.subscribed = channel.subscribed.then(next).catch(() => this.#tryAgain())
  }

  /** Until then, followers look at times. */
  #tryAgain(): void {
    this.#again ??= systemClock.setTimeout(async () => {
      this.#again = undefined
      const silent = this.#subscribeAll()
      await Promise.all(silent.map(({ subscribed }) => subscribed))
      if (silent.some(({ isSubscribed }) => isSubscribed)) for (const listener of this.#repeats) listener()
    }, againMs)
  }

  async #subscribe(name: string, channel: Channel): Promise<void> {
    if (channel.listeners.size === 0 || channel.isSubscribed) return
    const subscriber = await this.#subscriber()
    await subscriber.subscribe(name, (message) => {
      for (const heard of channel.listeners) heard(message)
    })
    channel.isSubscribed = true
  }

  async #unsubscribe(name: string, channel: Channel): Promise<void> {
    if (channel.listeners.size > 0) return
    try {
      if (channel.isSubscribed) await (await this.#subscriber()).unsubscribe(name)
    } finally {
      channel.isSubscribed = false
      // A listener that came meanwhile subscribes after this.
      if (channel.listeners.size === 0) this.#channels.delete(name)
    }
  }

  #subscriber(): Promise<RedisSubscriber> {
    this.#opened ??= this.#open().catch((error) => {
      this.#opened = undefined
      throw error
    })
    return this.#opened
  }

  async #open(): Promise<RedisSubscriber> {
    const sharded = await this.#isSharded()
    const subscriber = this.#commands.link.openSubscriber(sharded)
    subscriber.onReady(() => {
      this.#repeat()
    })
    return subscriber
  }

  /** Asks the server once: clients could do it before Redis 7 could. */
  async #isSharded(): Promise<boolean> {
    const { isCluster, canShard } = this.#commands.link
    if (!isCluster || !canShard) return false
    this.#sharded ??= this.#commands.ask('unhang', 'SPUBLISH', 'unhang', '').then(
      () => true,
      (error) => {
        if (/unknown command/i.test(String(error))) return false
        this.#sharded = undefined
        throw error
      },
    )
    return this.#sharded
  }
}

function newChannel(): Channel {
  return { listeners: new Set(), isSubscribed: false, subscribed: Promise.resolve() }
}
