import { systemClock, type Timer } from '../../timeouts/clock.js'
import type { StoredEnd } from '../resume-store.js'
import type { RedisBacklog } from './backlog.js'
import { type Claim, type Claimed, claimId } from './claim.js'
import type { RedisLog } from './log.js'
import { type Outgoing, RedisPacker } from './packer.js'
import type { RedisShared } from './shared.js'
import { writeTailEnd, writeTailEvents } from './tail.js'

/** A batch that Redis refused, for want of memory say, is sent again after this time. */
const againMs = 1_000

/** The calls of a sender to its recorder. */
interface SenderEvents {
  /** For those that follow now. */
  publish(channel: string, message: () => Buffer): void
  /** Redis has taken an entry. */
  confirmed(): void
  /** Redis has lost some of what it had taken. */
  lost(): void
  /** The end is recorded. */
  ended(): void
  /** Another stream has this id. */
  taken(): void
  /** Another process has ended the stream. */
  fenced(): void
}

/**
 * Sends one stream's events to Redis, one entry after the other: an entry that overtook another one, when a client
 * connects again, would have Redis refuse that one for ever.
 */
export class RedisSender {
  readonly #shared: RedisShared
  readonly #claimed: Claimed
  readonly #events: SenderEvents
  readonly #log: RedisLog
  readonly #backlog: RedisBacklog
  readonly #packer: RedisPacker
  #claim: Promise<Claim> | undefined
  /** Whether the stream of entries is there, as far as this process knows. */
  #exists = false
  #outgoing: Outgoing | undefined
  #isSending = false
  #isDue = false
  #how: StoredEnd | undefined
  #isClosed = false
  /** Whether Redis may know the stream. */
  hasAsked = false
  /** Whether the id was this stream's own at some time. */
  isClaimed = false
  #keptAt = Number.NEGATIVE_INFINITY
  #again: Timer | undefined

  constructor(shared: RedisShared, claimed: Claimed, backlog: RedisBacklog, events: SenderEvents) {
    this.#shared = shared
    this.#claimed = claimed
    this.#events = events
    this.#log = shared.log(claimed.id, claimed.run)
    this.#backlog = backlog
    this.#packer = new RedisPacker(this.#log, claimed.about.limits)
  }

  claim(): Promise<Claim> {
    this.#claim ??= this.#claimId()
    return this.#claim
  }

  /** Sends what there is. Never throws; what fails is sent again. */
  flush(): void {
    this.#isDue = true
    if (!this.#isSending) void this.#send()
  }

  end(how: StoredEnd): void {
    this.#how = how
    this.flush()
  }

  /** Says again that the stream is this one's, and looks whether it still is. */
  async renew(): Promise<void> {
    // An id that has not been claimed yet is about to be.
    if (this.#isClosed || !this.#claim) return
    this.#claim = undefined
    try {
      if ((await this.claim()) === 'taken') return this.#events.fenced()
      const last = await this.#log.last()
      if (last && 'end' in last) this.#events.fenced()
    } catch {
      // The next lease, or the next entry, comes to the same.
    }
  }

  /** Keeps the stream for some more time, if that is due. */
  keep(): void {
    const { lifeMs, commands } = this.#shared
    if (!this.#claim || !commands.isOpen || systemClock.now() - this.#keptAt < lifeMs / 2) return
    this.#keptAt = systemClock.now()
    this.#log.keepFor(lifeMs).catch(() => {
      this.#keptAt = Number.NEGATIVE_INFINITY
    })
  }

  close(): void {
    this.#isClosed = true
    systemClock.clearTimeout(this.#again)
  }

  async #claimId(): Promise<Claim> {
    this.hasAsked = true
    try {
      const claim = await claimId(this.#shared, this.#claimed)
      this.isClaimed ||= claim !== 'taken'
      // It may expire soon; or the process that ended the stream before may just be saying how long that one is kept.
      this.#keptAt = claim === 'new' ? systemClock.now() : Number.NEGATIVE_INFINITY
      return claim
    } catch (error) {
      this.#claim = undefined
      throw error
    }
  }

  async #send(): Promise<void> {
    this.#isSending = true
    try {
      while (this.#isDue && !this.#isClosed && this.#shared.commands.isOpen) {
        this.#isDue = false
        await this.#sendNext()
      }
    } catch {
      this.#sendAgain()
    }
    this.#isSending = false
  }

  /** @throws what the client does when Redis is gone */
  async #sendNext(): Promise<void> {
    if ((await this.claim()) === 'taken') return this.#exists ? this.#events.fenced() : this.#events.taken()
    if (this.#isClosed) return
    if (this.#outgoing || !this.#backlog.isEmpty) await this.#sendEntry()
    else if (this.#how) await this.#sendEnd(this.#how)
  }

  async #sendEntry(): Promise<void> {
    const outgoing = this.#outgoing ?? this.#packer.pack(this.#backlog)
    this.#outgoing = outgoing
    const { keys } = this.#log
    const { lifeMs } = this.#shared
    const writing = this.#packer.writeDictionary(outgoing, lifeMs)
    const adding = this.#log.add(outgoing, { create: !this.#exists, from: outgoing.from, lifeMs })
    this.#events.publish(keys.tail, () => writeTailEvents(outgoing, outgoing.length))
    const [added] = await Promise.all([adding, writing])
    if (this.#isClosed) return
    if (added === 'ended') return this.#events.fenced()
    if (added === 'failed') return this.#sendAgain()
    if (added === 'missing') return this.#startAnew()
    this.#exists = true
    this.#outgoing = undefined
    this.#backlog.confirm()
    this.#events.confirmed()
    this.#isDue ||= outgoing.isPart || this.#backlog.isFull || this.#how !== undefined
  }

  /** Redis has lost the stream, having been restarted without its data. */
  #startAnew(): void {
    this.#exists = false
    this.#packer.startAnew()
    this.#claim = undefined
    this.#isDue = true
    this.#events.lost()
  }

  async #sendEnd(how: StoredEnd): Promise<void> {
    const end = { ...how, last: this.#backlog.last }
    const added = await this.#log.end(end)
    if (added === 'added') {
      // Not together with the end: it may be refused.
      this.#log.keepFor(this.#claimed.about.limits.ttlMs).catch(() => {})
      this.#events.publish(this.#log.keys.tail, () => writeTailEnd(this.#log.sealEnd(end)))
    }
    if (this.#isClosed) return
    if (added === 'added') this.#events.ended()
    else if (added === 'ended') this.#events.fenced()
    else this.#sendAgain()
  }

  #sendAgain(): void {
    systemClock.clearTimeout(this.#again)
    if (!this.#isClosed) this.#again = systemClock.setTimeout(() => this.flush(), againMs)
  }
}
