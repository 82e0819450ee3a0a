import { systemClock, type Timer } from '../../timeouts/clock.js'
import type { RedisCommands } from './commands.js'

/** A lease that is not there is looked for once more: it may just be on its way. */
const againMs = 250
/** How long clients may take to connect again, one later than the other. */
const connectMs = 5_000
/** How long after its time a lease is looked for. */
const afterMs = 20

interface Watched {
  readonly listeners: Set<() => void>
  timer: Timer | undefined
  isMissing: boolean
}

/** Sees when the process that produces a stream is gone: its lease has not been renewed. One look for all its readers. */
export class RedisLeaseWatch {
  readonly #commands: RedisCommands
  readonly #leaseMs: number
  readonly #watched = new Map<string, Watched>()
  /** Until then producers may still be about to renew what Redis could not keep. */
  #graceUntil = 0

  constructor(commands: RedisCommands, leaseMs: number) {
    this.#commands = commands
    this.#leaseMs = leaseMs
    commands.onOpen(() => this.#wait())
  }

  #wait(): void {
    this.#graceUntil = systemClock.now() + Math.max(this.#leaseMs, connectMs)
  }

  /** Calls back each time the lease was looked for and is not there. @returns what ends it */
  watch(lease: string, lost: () => void): () => void {
    const watched: Watched = this.#watched.get(lease) ?? {
      listeners: new Set(),
      timer: undefined,
      isMissing: false,
    }
    this.#watched.set(lease, watched)
    watched.listeners.add(lost)
    if (watched.listeners.size === 1) void this.#look(lease, watched)
    return () => {
      watched.listeners.delete(lost)
      if (watched.listeners.size > 0) return
      systemClock.clearTimeout(watched.timer)
      this.#watched.delete(lease)
    }
  }

  /** Whether a lease is not there, and is not about to be. @throws what the client does when Redis is gone */
  async isGone(lease: string): Promise<boolean> {
    const count = await this.#commands.ask(lease, 'EXISTS', lease)
    return Number(count) === 0 && systemClock.now() >= this.#graceUntil
  }

  async #look(lease: string, watched: Watched): Promise<void> {
    const leftMs = await this.#commands.ask(lease, 'PTTL', lease).then(Number, () => undefined)
    // Producers could not renew it either, or not there.
    if (leftMs === undefined) this.#wait()
    if (watched.listeners.size === 0) return
    const isGone = leftMs !== undefined && leftMs < 0 && systemClock.now() >= this.#graceUntil
    if (isGone && watched.isMissing) for (const lost of watched.listeners) lost()
    watched.isMissing = isGone
    const nextMs = leftMs !== undefined && leftMs >= 0 ? leftMs + afterMs : againMs
    watched.timer = systemClock.setTimeout(
      () => void this.#look(lease, watched),
      Math.min(nextMs, this.#leaseMs),
    )
  }
}
