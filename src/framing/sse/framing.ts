// Buffer and process are imported where each event passes: as globals they are accessors, which V8 does not compile into
// what uses them.
import { Buffer } from 'node:buffer'

/**
 * Bytes as text, one character for each. What frames events and JSON is ASCII, and found as well in this form as
 * decoded; nothing that is cut can go wrong in it, and no script costs more than another.
 */
export function toByteText(bytes: Uint8Array | string): string {
  return asBuffer(bytes).toString('latin1')
}

/** As bytes, and as character codes of a text. */
export const lineFeed = 10
export const carriageReturn = 13

/** Its bytes, as text. */
export const byteOrderMark = '\xef\xbb\xbf'

/** What the bytes say, as UTF-8. */
export function decodeByteText(text: string): string {
  return Buffer.from(text, 'latin1').toString()
}

export function asBuffer(bytes: Uint8Array | string): Buffer {
  if (typeof bytes === 'string') return Buffer.from(bytes)
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

const mark = Buffer.from(byteOrderMark, 'latin1')
const nothing = Buffer.alloc(0)
/** A blank line has begun in these, if it is ended by what comes. */
const longestOverlap = 3

/**
 * Cuts the bytes of an event stream, as they come, where an event has ended.
 *
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */
export class EventSplitter {
  /** An event that has begun, in the pieces it came in: a long one is joined once, not with each of them. */
  #open: Buffer[] = []
  #tail: Buffer = nothing
  /** How long the event is by now that has begun. */
  openBytes = 0
  #started = false

  /** @returns all bytes up to the end of the last event that has ended; empty if none has */
  push(piece: Uint8Array | string): Buffer {
    const bytes = asBuffer(piece)
    // As most chunks are.
    if (this.openBytes === 0 && endsInBlankLine(bytes)) return this.#withoutMark(bytes)
    const overlap = this.#tail.length
    const end = endOfLastEvent(overlap === 0 ? bytes : Buffer.concat([this.#tail, bytes])) - overlap
    if (end <= 0) {
      this.#keep(bytes)
      return nothing
    }
    const whole = this.#join(bytes.subarray(0, end))
    this.#open = []
    this.#tail = nothing
    this.openBytes = 0
    // A copy: a view would hold all of what is being passed on.
    this.#keep(Buffer.from(bytes.subarray(end)))
    return this.#withoutMark(whole)
  }

  /** The event that has begun. */
  get rest(): Buffer {
    return this.#join(nothing)
  }

  /** What has begun, with what ends it; nothing may be pushed any more. */
  closed(): Buffer {
    return this.#withoutMark(this.#join(Buffer.from('\n\n')))
  }

  #keep(bytes: Buffer): void {
    if (bytes.length === 0) return
    this.#open.push(bytes)
    this.openBytes += bytes.length
    const tail = bytes.length < longestOverlap ? Buffer.concat([this.#tail, bytes]) : bytes
    this.#tail = tail.subarray(-longestOverlap)
  }

  #join(last: Buffer): Buffer {
    return this.#open.length === 0 ? last : Buffer.concat([...this.#open, last])
  }

  /** Some clients lose the first event to it. */
  #withoutMark(bytes: Buffer): Buffer {
    if (this.#started) return bytes
    this.#started = true
    return bytes.subarray(0, mark.length).equals(mark) ? bytes.subarray(mark.length) : bytes
  }
}

/** Whether an event has ended here for sure, whatever its line ends were. */
export function endsInBlankLine(bytes: Buffer): boolean {
  const { length } = bytes
  return length > 1 && bytes[length - 1] === lineFeed && bytes[length - 2] === lineFeed
}

/** Where the last blank line ends; 0 without one. */
function endOfLastEvent(bytes: Buffer): number {
  if (endsInBlankLine(bytes)) return bytes.length
  const plain = bytes.lastIndexOf('\n\n')
  let end = plain === -1 ? 0 : plain + 2
  if (!bytes.includes(carriageReturn)) return end
  for (const blank of ['\n\r', '\r\r']) {
    const at = bytes.lastIndexOf(blank)
    if (at === -1) continue
    const after = at + 2
    end = Math.max(end, bytes[after] === lineFeed ? after + 1 : after)
  }
  return end
}

const block = /[\s\S]*?(?:\r\n|\r(?!\n)|\n){2}/y
const dataLine = /(?:^|[\r\n])data(?::|[\r\n])/

/** Where the event with this number, from 1, ends; 0 for none. Blocks without data are no events. */
export function endOfEvent(bytes: Buffer, number: number): number {
  if (number === 0) return 0
  const text = bytes.toString('latin1')
  let events = 0
  block.lastIndex = 0
  for (;;) {
    const match = block.exec(text)
    if (!match) return bytes.length
    if (dataLine.test(match[0])) events++
    if (events === number) return match.index + match[0].length
  }
}

/** Longer than any comment that is worth remembering. */
const longestOpenText = 1_024
// Whole comments, and lines that only say when to try again, begin no event.
const noEvent = /^(?:\n|(?::|retry *:)[^\r\n]*(?:\r\n|\r(?!$)|\n))*$/

/**
 * Follows the bytes of an event stream that somebody else writes, and knows whether something may be put in
 * between: only where an event has ended, not merely a line.
 */
export class EventBoundary {
  /** What has come since the last event ended. */
  #open = ''
  /** Whether the last event ended in a CR that may yet be the half of a CRLF. */
  #endedInHalf = false

  observe(bytes: Buffer): void {
    if (bytes.length === 0) return
    const all = this.#open === '' ? bytes : Buffer.concat([Buffer.from(this.#open, 'latin1'), bytes])
    const end = endOfLastEvent(all)
    this.#open = all.subarray(end).toString('latin1')
    if (this.#open.length > longestOpenText) this.#open = `x${this.#open.slice(-3)}`
    const [before, last] = [all[all.length - 2], all[all.length - 1]]
    this.#endedInHalf = end === all.length && last === carriageReturn && before === lineFeed
  }

  /** Whether nothing at all has come since the last event ended. */
  get isClean(): boolean {
    return this.#open === '' && !this.#endedInHalf
  }

  get betweenEvents(): boolean {
    return !this.#endedInHalf && noEvent.test(this.#open)
  }

  /** What ends the event that has begun, so that another can follow. */
  get closing(): string {
    return this.betweenEvents ? '' : '\n\n'
  }
}
