import { isDeepStrictEqual } from 'node:util'
import type { StoredEnd } from '../resume-store.js'
import type { RedisCommands } from './commands.js'
import type { RecordingKeys } from './keys.js'
import type { RedisReply } from './link.js'
import type { Packed, PackedForm, Packing } from './packing.js'

/** The largest id there is: what has this entry refuses every other one. */
const endId = '9007199254740991-0'

/** Events that were packed together, as they stand in Redis. */
export interface LogEntry extends Packed {
  readonly first: number
  readonly last: number
}

/** How the stream ended, and how many events it had, whether or not they are all there. */
export interface LogEnd extends StoredEnd {
  readonly last: number
}

/** The end as it stands in Redis: `openEnd` reads it. */
export interface SealedEnd {
  readonly end: Buffer
}

/** The fate of an entry. `missing`: there is no such stream, and none was to be made. */
type Added = 'added' | 'ended' | 'missing' | 'failed'

/** One recording in Redis: a stream whose entries are numbered by their last event. Redis refuses what is not new. */
export class RedisLog {
  readonly keys: RecordingKeys
  readonly packing: Packing
  readonly #commands: RedisCommands

  constructor(commands: RedisCommands, keys: RecordingKeys, packing: Packing) {
    this.#commands = commands
    this.keys = keys
    this.packing = packing
  }

  pack(first: number, last: number, text: string): LogEntry {
    return { first, last, ...this.packing.pack(text, String(last)) }
  }

  unpack(entry: LogEntry): string {
    return this.packing.unpack(entry, String(entry.last))
  }

  /** @param options `create`: whether it may be the first entry. `from`: events before this one may go. */
  add(
    { first, last, form, bytes }: LogEntry,
    { create, from, lifeMs }: { create: boolean; from: number | undefined; lifeMs: number },
  ): Promise<Added> {
    const creating = create ? [] : ['NOMKSTREAM']
    const trimming = from === undefined ? [] : ['MINID', `${from}-0`]
    const fields = ['n', String(last - first + 1), form, bytes]
    const added = this.#add([...creating, ...trimming, `${last}-0`, ...fields], () => this.#hasUpTo(last))
    if (create) this.#expire(this.keys.events, lifeMs).catch(() => {})
    return added
  }

  /** Ends the recording, once, from any process: whatever comes later is refused. */
  async end(end: LogEnd): Promise<Added> {
    return this.#add([endId, 'end', this.sealEnd(end)], () => this.#hasEnd(end))
  }

  async #add(rest: (string | Buffer)[], refused: () => Promise<Added>): Promise<Added> {
    try {
      const id = await this.#commands.send(this.keys.events, 'XADD', this.keys.events, ...rest)
      return id === null ? 'missing' : 'added'
    } catch (error) {
      // It was written, and its answer was lost; or the stream has been ended meanwhile.
      return isTooSmall(error) ? refused().catch(() => 'failed') : 'failed'
    }
  }

  async #hasUpTo(last: number): Promise<Added> {
    const top = await this.last()
    return top && !('end' in top) && top.last >= last ? 'added' : 'ended'
  }

  async #hasEnd(end: LogEnd): Promise<Added> {
    const top = await this.last()
    return top && 'end' in top && isDeepStrictEqual(this.openEnd(top.end), endFrom(end)) ? 'added' : 'ended'
  }

  /** The entry that is the last one now. */
  async last(): Promise<LogEntry | SealedEnd | undefined> {
    return (await this.#range('XREVRANGE', '+', '-', 1)).at(0)
  }

  async first(): Promise<LogEntry | SealedEnd | undefined> {
    return (await this.#range('XRANGE', '-', '+', 1)).at(0)
  }

  /** The last entry that holds events. */
  async lastEvents(): Promise<LogEntry | undefined> {
    const [entry, before] = await this.#range('XREVRANGE', '+', '-', 2)
    return [entry, before].find((each): each is LogEntry => each !== undefined && !('end' in each))
  }

  /** The entries that hold what comes after the first `after` events, as many as one page has. */
  async page(after: number, length: number): Promise<(LogEntry | SealedEnd)[]> {
    // A cursor may be anything; an id may not.
    const from = Math.min(after, Number.MAX_SAFE_INTEGER - 1)
    return this.#range('XRANGE', `(${from}-0`, '+', length)
  }

  async #range(command: string, from: string, to: string, count: number) {
    const reply = await this.#commands.ask(
      this.keys.events,
      ...[command, this.keys.events, from, to, 'COUNT', String(count)],
    )
    return (reply as RedisReply[]).map((each) => this.#read(each as RedisReply[]))
  }

  #read([id, fields]: RedisReply[]): LogEntry | SealedEnd {
    const [name, value, form, bytes] = fields as [Buffer, Buffer, Buffer, Buffer]
    if (String(name) === 'end') return { end: value }
    const last = Number.parseInt(String(id), 10)
    return { first: last - Number(String(value)) + 1, last, form: String(form) as PackedForm, bytes }
  }

  sealEnd(end: LogEnd): Buffer {
    return this.packing.seal(Buffer.from(JSON.stringify(end)), 'end')
  }

  openEnd(bytes: Buffer): LogEnd {
    return endFrom(JSON.parse(String(this.packing.open(bytes, 'end'))))
  }

  /** Reads what the events were deflated with. @returns whether it is there */
  async readDictionary(): Promise<boolean> {
    const { dictionary } = this.keys
    if (this.packing.hasDictionary) return true
    const bytes = await this.#commands.ask(dictionary, 'GET', dictionary)
    if (!(bytes instanceof Buffer)) return false
    this.packing.takeDictionary(bytes)
    return true
  }

  async writeDictionary(bytes: Buffer, lifeMs: number): Promise<void> {
    const { dictionary } = this.keys
    await this.#commands.send(dictionary, 'SET', dictionary, bytes, 'PX', String(lifeMs))
  }

  /** Forgets the recording after this time, `Infinity` for never. */
  async keepFor(ms: number): Promise<void> {
    const { about, events, dictionary } = this.keys
    await Promise.all([about, events, dictionary].map((key) => this.#expire(key, ms)))
  }

  #expire(key: string, ms: number): Promise<RedisReply> {
    if (!Number.isFinite(ms)) return this.#commands.send(key, 'PERSIST', key)
    return this.#commands.send(key, 'PEXPIRE', key, String(Math.ceil(ms)))
  }
}

/** An end without anything else that was written with it. */
function endFrom({ outcome, code, message, status, last }: LogEnd): LogEnd {
  return { outcome, code, message, ...(status !== undefined && { status }), last }
}

/** "The ID specified in XADD is equal or smaller than the target stream top item" */
function isTooSmall(error: unknown): boolean {
  return /equal or smaller/.test(String(error))
}
