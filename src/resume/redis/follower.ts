import { randomBytes } from 'node:crypto'
import { systemClock, within } from '../../timeouts/clock.js'
import type { Followed, StoredEnd } from '../resume-store.js'
import { forgotten, producerLost, unreachable } from '../stored-ends.js'
import type { AboutRecording } from './about.js'
import { processOf } from './keys.js'
import type { LogEnd, LogEntry, RedisLog } from './log.js'
import { endLost } from './lost-stream.js'
import type { RedisShared } from './shared.js'
import { findAbout } from './stored-about.js'
import { RedisTail } from './tail.js'

/** How many entries are read at once. */
const pageLength = 32
/** How much a follower that does not read may have waiting, before it has to read the log again. */
const maxTailLength = 256 * 1024
/** After so much silence a follower looks for messages that were lost; then less and less often. */
const lookMs = { first: 1_000, last: 8_000 }

/** A follower's next step: read the log, wait for messages, or none any more. */
type Next = 'log' | 'tail' | 'over'

/** Redis does not know the stream, is silent, or does not take the end of one whose producer is gone. */
type Trouble = 'unknown' | 'away' | 'unended'

/** Follows one recording: first what stands in the log, then what is published. */
export class RedisFollower {
  readonly #shared: RedisShared
  readonly #id: string
  readonly #recording: AboutRecording
  readonly #log: RedisLog
  readonly #tail: RedisTail
  readonly #name = randomBytes(6).toString('base64url')
  readonly #signal: AbortSignal
  /** How many events the client has had, or knows to be gone. */
  #had: number
  /** The lease of the producer is not there. */
  #isLost = false
  /** Messages may have been missed. */
  #mustLook = false
  readonly #since: Partial<Record<Trouble, number>> = {}

  constructor(
    shared: RedisShared,
    id: string,
    recording: AboutRecording,
    after: number,
    signal: AbortSignal,
  ) {
    this.#shared = shared
    this.#id = id
    this.#recording = recording
    this.#log = shared.log(id, recording.run)
    this.#tail = new RedisTail(Math.min(maxTailLength, recording.about.limits.maxBytes))
    this.#had = after
    this.#signal = signal
  }

  async *follow(): AsyncGenerator<Followed, void> {
    const last = await this.#log.last().catch(() => undefined)
    // Of a stream that has ended there is nothing to hear. Of others, a follower that has seen an event hears the next ones.
    if (last && 'end' in last && (yield* this.#readLog()) === 'over') return
    const { channels, leases, keys } = this.#shared
    const wake = () => this.#tail.wake()
    const look = () => {
      this.#mustLook = true
      wake()
    }
    const lost = () => {
      this.#isLost = true
      look()
    }
    const listening = channels.listen(this.#log.keys.tail, (message) => this.#tail.push(message))
    const endings = [
      listening.stop,
      channels.onRepeat(look),
      leases.watch(keys.lease(processOf(this.#recording.run)), lost),
    ]
    this.#signal.addEventListener('abort', wake)
    try {
      await within(listening.heard, lookMs.first)
      yield* this.#followOn()
    } finally {
      this.#signal.removeEventListener('abort', wake)
      for (const end of endings) end()
      this.#call('leave')
    }
  }

  async *#followOn(): AsyncGenerator<Followed, void> {
    let waitMs = lookMs.first
    this.#call('join')
    let next: Next = yield* this.#readLog()
    while (next !== 'over' && !this.#signal.aborted) {
      if (next === 'tail') next = yield* this.#readTail()
      if (next === 'tail') {
        const came = await this.#tail.wait(waitMs)
        waitMs = came ? lookMs.first : Math.min(waitMs * 2, lookMs.last)
        if (came && !this.#mustLook) continue
        this.#mustLook = false
        // The producer may have forgotten a follower that has heard nothing for a while.
        this.#call('join')
        next = 'log'
      }
      const before = this.#had
      if (next === 'log') next = yield* this.#look()
      if (this.#had > before) waitMs = lookMs.first
    }
  }

  /** Reads the log, and looks whether there is still a process that writes it. */
  async *#look(): AsyncGenerator<Followed, Next> {
    const before = this.#had
    const next = yield* this.#readLog()
    if (next === 'over' || this.#signal.aborted || this.#had > before) return next
    const isLost = this.#isLost
    this.#isLost = false
    try {
      const found = await findAbout(this.#shared, this.#id)
      if (found?.run !== this.#recording.run) return yield* this.#giveUp('unknown', forgotten)
      delete this.#since.unknown
      if (isLost) return yield* this.#declareLost()
    } catch {
      return yield* this.#giveUp('away', unreachable)
    }
    return next
  }

  async *#declareLost(): AsyncGenerator<Followed, Next> {
    const fate = await endLost(this.#shared, this.#log, this.#recording)
    if (fate === 'refused') return yield* this.#giveUp('unended', producerLost)
    return fate === 'alive' ? 'tail' : 'log'
  }

  /** Waits for what has gone to come back, as long as its producer may be silent. */
  async *#giveUp(why: Trouble, end: StoredEnd): AsyncGenerator<Followed, Next> {
    const now = systemClock.now()
    this.#since[why] ??= now
    if (now - this.#since[why] < this.#shared.leaseMs) return 'tail'
    yield { end }
    return 'over'
  }

  async *#readLog(): AsyncGenerator<Followed, Next> {
    for (;;) {
      const page = await this.#log.page(this.#had, pageLength).catch(() => undefined)
      if (!page) return yield* this.#giveUp('away', unreachable)
      for (const entry of page) {
        if (this.#signal.aborted) return 'over'
        if ('end' in entry) return yield* this.#end(this.#log.openEnd(entry.end))
        if (!(yield* this.#hand(entry))) return yield* this.#giveUp('away', unreachable)
      }
      delete this.#since.away
      if (page.length < pageLength) return 'tail'
    }
  }

  async *#readTail(): AsyncGenerator<Followed, Next> {
    for (let message = this.#tail.next(); message; message = this.#tail.next()) {
      if (this.#signal.aborted) return 'over'
      if ('hello' in message) return 'log'
      if ('end' in message) {
        const end = this.#log.openEnd(message.end)
        return end.last > this.#had ? 'log' : yield* this.#end(end)
      }
      if (message.first > this.#had + 1) return 'log'
      if (message.last > this.#had && !(yield* this.#hand(message)))
        return yield* this.#giveUp('away', unreachable)
    }
    return this.#tail.takeDropped() ? 'log' : 'tail'
  }

  /** @returns whether Redis has said all that is needed for it */
  async *#hand(entry: LogEntry): AsyncGenerator<Followed, boolean> {
    const { form, first, last } = entry
    const isReadable = form !== 'y' || (await this.#log.readDictionary().catch(() => undefined))
    if (isReadable === undefined) return false
    const from = this.#had + 1
    this.#had = last
    delete this.#since.unended
    if (isReadable && first > from) yield { gap: [from, first - 1] }
    if (isReadable) yield { events: this.#log.unpack(entry), first, last }
    else yield { gap: [from, last] }
    return true
  }

  async *#end({ last, ...end }: LogEnd): AsyncGenerator<Followed, Next> {
    if (last > this.#had) yield { gap: [this.#had + 1, last] }
    yield { end }
    return 'over'
  }

  #call(verb: 'join' | 'leave'): void {
    const { channels, keys } = this.#shared
    const { run } = this.#recording
    void channels.publish(keys.calls(processOf(run)), `${verb} ${run} ${this.#name} ${this.#log.keys.tail}`)
  }
}
