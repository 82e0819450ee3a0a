import { within } from '../../timeouts/clock.js'
import type { RecordedStream, Recorder, RecorderEvents, StoredEnd } from '../resume-store.js'
import { RedisBacklog } from './backlog.js'
import type { Claim } from './claim.js'
import { writeLate } from './late-end.js'
import { RedisSender } from './sender.js'
import type { RedisShared } from './shared.js'

/** How much Redis may leave unconfirmed: of one stream, and of all streams of the process. */
const maxUnconfirmed = { stream: 1024 * 1024, process: 64 * 1024 * 1024 }
/** How long the end of a stream may take to be recorded. */
const endMs = 5_000

/** Records one stream in Redis, and never holds it up. */
export class RedisRecorder implements Recorder {
  readonly id: string
  readonly run: string
  readonly #shared: RedisShared
  readonly #ttlMs: number
  readonly #events: RecorderEvents
  readonly #backlog: RedisBacklog
  readonly #sender: RedisSender
  readonly #followers = new Set<string>()
  readonly #flush: () => void
  #isComplete = true
  /** Redis did not take what there was: until it does again, events are only counted. */
  #isSkipping = false
  #isStopped = false
  #isEnding = false
  #isOver = false
  readonly #over: Promise<void>
  #setOver = () => {}

  constructor(shared: RedisShared, id: string, about: RecordedStream, events: RecorderEvents) {
    this.id = id
    this.run = shared.process.newRun()
    this.#shared = shared
    this.#events = events
    this.#ttlMs = about.limits.ttlMs
    this.#backlog = new RedisBacklog(about.limits, shared.unconfirmed)
    this.#sender = new RedisSender(shared, { id, run: this.run, about }, this.#backlog, {
      publish: (channel, message) => this.#publish(channel, message),
      confirmed: () => {
        this.#isSkipping = false
      },
      lost: () => {
        this.#isComplete = false
      },
      ended: () => this.#finish(),
      taken: () => this.abandon(),
      fenced: () => this.#fenced(),
    })
    this.#flush = () => this.#sender.flush()
    this.#over = new Promise((resolve) => {
      this.#setOver = resolve
    })
  }

  get ending(): Promise<void> | undefined {
    return this.#isEnding ? this.#over : undefined
  }

  get complete(): boolean {
    return this.#isComplete
  }

  get isClaimed(): boolean {
    return this.#sender.isClaimed
  }

  get followers(): number {
    return this.#followers.size
  }

  append(events: string, count: number): void {
    if (this.#isOver || this.#isEnding) return
    if (this.#isSkipping) return this.#backlog.skip(count)
    this.#backlog.add(events, count)
    if (this.#isTooMuch) this.#skip()
    else if (this.#backlog.isFull) this.#flush()
    else this.#shared.queue.add(this.#flush)
  }

  async end(how: StoredEnd): Promise<void> {
    if (!this.#isEnding && !this.#isOver) {
      this.#isEnding = true
      this.#sender.end(how)
      const isWaiting = !this.#isSkipping || this.#shared.commands.isOpen
      // If Redis took nothing for so long, it will take nothing in the next seconds.
      if (!isWaiting || !(await within(this.#over, endMs))) this.#endLate(how)
    }
    return this.#over
  }

  #endLate(how: StoredEnd): void {
    const { id, run } = this
    const end = { ...how, last: this.#backlog.last }
    const isKnown = this.#sender.hasAsked && !this.#isOver
    this.abandon()
    if (isKnown) writeLate(this.#shared, { id, run, ttlMs: this.#ttlMs, end })
  }

  /** Makes the id this stream's own, unless it is taken. @throws what the client does when Redis is gone */
  claim(): Promise<Claim> {
    return this.#sender.claim()
  }

  /** Stops recording: it cannot be done. */
  abandon(): void {
    if (this.#isOver) return
    this.#isComplete = false
    this.#finish()
  }

  /** A client asks for the end of this stream. */
  stop(why: string): void {
    if (this.#isStopped || this.#isOver) return
    this.#isStopped = true
    this.#events.stop(why)
  }

  joined(follower: string): void {
    this.#followers.add(follower)
  }

  left(follower: string): void {
    this.#followers.delete(follower)
  }

  /** Redis may have forgotten what is known of the stream, or another process may have ended it. */
  renew(): void {
    void this.#sender.renew()
  }

  tick(): void {
    if (this.#shared.commands.isOpen && !this.#isTooMuch) this.#isSkipping = false
    this.#sender.keep()
  }

  /** Redis answers again. */
  resume(): void {
    this.#isSkipping = false
    this.#flush()
  }

  get #isTooMuch(): boolean {
    const { length } = this.#shared.unconfirmed
    return this.#backlog.length > maxUnconfirmed.stream || length > maxUnconfirmed.process
  }

  #skip(): void {
    this.#isComplete = false
    this.#isSkipping = true
    this.#backlog.drop()
  }

  #publish(channel: string, message: () => Buffer): void {
    if (this.#followers.size === 0) return
    void this.#shared.channels.publish(channel, message()).then((heard) => {
      // Followers that did not say that they leave have not come far.
      if (heard === 0) this.#followers.clear()
    })
  }

  #fenced(): void {
    if (this.#isOver) return
    this.abandon()
    if (!this.#isEnding) this.#events.fenced()
  }

  #finish(): void {
    this.#isOver = true
    this.#sender.close()
    this.#shared.queue.delete(this.#flush)
    this.#shared.process.delete(this)
    this.#backlog.drop()
    this.#backlog.confirm()
    this.#setOver()
  }
}
