import type { RecordedStream } from '../resume-store.js'
import type { RedisBacklog } from './backlog.js'
import { RedisKept } from './kept.js'
import type { LogEntry, RedisLog } from './log.js'

/** An entry on its way, with how long its events are and from which one on events are kept. */
export interface Outgoing extends LogEntry {
  readonly length: number
  readonly from: number | undefined
  /** Whether there were more events than go together: the rest has waited as long. */
  readonly isPart: boolean
}

/** Makes entries of one stream's events, with the dictionary that they need. */
export class RedisPacker {
  readonly #log: RedisLog
  readonly #kept: RedisKept
  #dictionary: Buffer | undefined
  #isDictionaryWritten = false

  constructor(log: RedisLog, limits: RecordedStream['limits']) {
    this.#log = log
    this.#kept = new RedisKept(limits)
  }

  pack(backlog: RedisBacklog): Outgoing {
    const { text, first, last } = backlog.take()
    const isPart = !backlog.isEmpty
    const entry = this.#log.pack(first, last, text)
    this.#dictionary ??= this.#log.packing.chooseDictionary(text)
    const from = this.#kept.add(first, last, Buffer.byteLength(text))
    return { ...entry, length: text.length, from, isPart }
  }

  /** Writes what readers of this entry need. */
  async writeDictionary({ form }: LogEntry, lifeMs: number): Promise<void> {
    if (form !== 'y' || !this.#dictionary || this.#isDictionaryWritten) return
    await this.#log.writeDictionary(this.#dictionary, lifeMs)
    this.#isDictionaryWritten = true
  }

  /** Redis has lost what there was. */
  startAnew(): void {
    this.#isDictionaryWritten = false
  }
}
