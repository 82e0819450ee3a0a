import { randomBytes } from 'node:crypto'
import { systemClock, type Timer } from '../../timeouts/clock.js'
import type { RedisChannels } from './channels.js'
import type { RedisCommands } from './commands.js'
import type { RedisKeys } from './keys.js'
import { writeTailHello } from './tail.js'

/** The calls of a process to one of its recordings. */
export interface Called {
  readonly id: string
  readonly run: string
  /** Settles when its end is recorded; not set before it has one. */
  readonly ending: Promise<void> | undefined
  /** Whether it has made its id its own. */
  readonly isClaimed: boolean
  /** A client asked for its end. */
  stop(why: string): void
  joined(follower: string): void
  left(follower: string): void
  /** Redis may have forgotten what is known of the stream, or another process may have ended it. */
  renew(): void
  /** Once in each third of a lease. */
  tick(): void
  /** Redis answers again. */
  resume(): void
}

/** This process as the others see it: one lease for all that it records, and one channel on which it is called. */
export class RedisProcess {
  readonly id = randomBytes(12).toString('base64url')
  readonly #commands: RedisCommands
  readonly #channels: RedisChannels
  readonly #leaseMs: number
  readonly #lease: string
  readonly #calls: string
  readonly #recordings = new Map<string, Called>()
  readonly #byId = new Map<string, Called>()
  #runs = 0
  #timer: Timer | undefined
  #renewing: Promise<void> | undefined
  #begun: Promise<unknown> | undefined
  #isListening = false

  constructor(commands: RedisCommands, channels: RedisChannels, keys: RedisKeys, leaseMs: number) {
    this.#commands = commands
    this.#channels = channels
    this.#leaseMs = leaseMs
    this.#lease = keys.lease(this.id)
    this.#calls = keys.calls(this.id)
    commands.onOpen(() => {
      if (this.#timer) void this.#renew().finally(() => this.#each((recording) => recording.resume()))
    })
  }

  newRun(): string {
    return `${this.id}.${(++this.#runs).toString(36)}`
  }

  /** Calls it from now on. @returns when others can see that this process lives, and call it */
  add(recording: Called): Promise<unknown> {
    this.#recordings.set(recording.run, recording)
    this.#byId.set(recording.id, recording)
    if (this.#timer) return this.#begun ?? Promise.resolve()
    this.#arm()
    let heard: Promise<void> | undefined
    if (!this.#isListening) {
      this.#isListening = true
      heard = this.#channels.listen(this.#calls, (message) => this.#called(String(message))).heard
    }
    this.#begun = Promise.all([this.#renew(), heard]).finally(() => {
      this.#begun = undefined
    })
    return this.#begun
  }

  /** Goes on calling what is left of a recording. */
  keep(recording: Called): void {
    this.#recordings.set(recording.run, recording)
    // The next stream of this id may have begun.
    if (!this.#byId.has(recording.id)) this.#byId.set(recording.id, recording)
  }

  delete({ id, run }: Pick<Called, 'id' | 'run'>): void {
    this.#recordings.delete(run)
    if (this.#byId.get(id)?.run === run) this.#byId.delete(id)
  }

  /** The recording of this process under an id. */
  find(id: string): Called | undefined {
    return this.#byId.get(id)
  }

  #arm(): void {
    this.#timer = systemClock.setTimeout(() => {
      this.#timer = undefined
      // The next recording begins anew.
      if (this.#recordings.size === 0) return
      this.#arm()
      void this.#renew()
      this.#each((recording) => recording.tick())
    }, this.#leaseMs / 3)
  }

  /** Never rejects: without Redis no process sees the lease. */
  #renew(): Promise<void> {
    this.#renewing ??= this.#setLease()
      .catch(() => {})
      .finally(() => {
        this.#renewing = undefined
      })
    return this.#renewing
  }

  async #setLease(): Promise<void> {
    const ms = String(this.#leaseMs)
    // A Redis that is full would refuse to set it.
    if (Number(await this.#commands.send(this.#lease, 'PEXPIRE', this.#lease, ms)) === 1) return
    await this.#commands.send(this.#lease, 'SET', this.#lease, '1', 'PX', ms)
    // It was gone: Redis forgot, or this process stood still for longer than it lasts.
    this.#each((recording) => recording.renew())
  }

  #called(message: string): void {
    const [, verb, run = '', rest = ''] = /^(\w+) (\S+) ([\s\S]*)$/.exec(message) ?? []
    const recording = this.#recordings.get(run)
    if (verb === 'stop') return recording?.stop(rest)
    const [follower = '', tail = ''] = rest.split(' ')
    if (verb === 'leave') return recording?.left(follower)
    recording?.joined(follower)
    // Events that were recorded since the follower looked were not published: now it looks once more.
    void this.#channels.publish(tail, writeTailHello())
  }

  #each(call: (recording: Called) => void): void {
    for (const recording of this.#recordings.values()) call(recording)
  }
}
