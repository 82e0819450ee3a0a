import { systemClock } from '../../timeouts/clock.js'
import type { LogEnd, RedisLog } from './log.js'
import type { Called } from './process.js'
import type { RedisShared } from './shared.js'
import { findAbout } from './stored-about.js'
import { writeTailEnd } from './tail.js'

/** How many ends may wait for Redis in one process. */
const maxLate = 10_000

interface LateEnd {
  readonly id: string
  readonly run: string
  readonly ttlMs: number
  readonly end: LogEnd
}

/** Writes an end that Redis has not taken in time, once it does: readers of the stream would wait for it. */
export function writeLate(shared: RedisShared, late: LateEnd): void {
  if (shared.lateEnds.count < maxLate) new RedisLateEnd(shared, late).begin()
}

/** All that is left of a stream that has ended. */
class RedisLateEnd implements Called {
  readonly id: string
  readonly run: string
  readonly ending: Promise<void>
  readonly isClaimed = true
  readonly #shared: RedisShared
  readonly #late: LateEnd
  readonly #log: RedisLog
  /** Until when Redis keeps the stream without it. */
  readonly #until: number
  #isWriting = false
  #isOver = false
  #setOver = () => {}

  constructor(shared: RedisShared, late: LateEnd) {
    this.id = late.id
    this.run = late.run
    this.#shared = shared
    this.#late = late
    this.#log = shared.log(late.id, late.run)
    this.#until = systemClock.now() + shared.lifeMs
    this.ending = new Promise((resolve) => {
      this.#setOver = resolve
    })
  }

  begin(): void {
    this.#shared.lateEnds.count++
    this.#shared.process.keep(this)
    this.resume()
  }

  stop(): void {}
  joined(): void {}
  left(): void {}
  renew(): void {}

  tick(): void {
    if (systemClock.now() < this.#until) this.resume()
    else this.#finish()
  }

  resume(): void {
    if (this.#isWriting || !this.#shared.commands.isOpen) return
    this.#isWriting = true
    this.#write().then(
      (isOver) => {
        this.#isWriting = false
        if (isOver) this.#finish()
      },
      () => {
        this.#isWriting = false
      },
    )
  }

  /** @returns whether there is nothing more to do */
  async #write(): Promise<boolean> {
    const { end, ttlMs } = this.#late
    // Of a stream that Redis has forgotten no reader waits for the end; the next one may have its id.
    if ((await findAbout(this.#shared, this.id))?.run !== this.run) return true
    const added = await this.#log.end(end)
    if (added !== 'added') return added === 'ended'
    this.#log.keepFor(ttlMs).catch(() => {})
    void this.#shared.channels.publish(this.#log.keys.tail, writeTailEnd(this.#log.sealEnd(end)))
    return true
  }

  #finish(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#shared.lateEnds.count--
    this.#shared.process.delete(this)
    this.#setOver()
  }
}
