const lineFeed = 10
const carriageReturn = 13
const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf])
const nothing = Buffer.alloc(0)

/**
 * Cuts the bytes of an event stream, as they come, where an event has ended.
 *
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */
export class EventSplitter {
  /** An event that has begun. */
  rest: Buffer = nothing
  #started = false

  /** @returns all bytes up to the end of the last event that has ended; empty if none has */
  push(chunk: Uint8Array | string): Buffer {
    const bytes = this.rest.length === 0 ? asBuffer(chunk) : Buffer.concat([this.rest, asBuffer(chunk)])
    const end = endOfLastEvent(bytes, this.rest.length)
    this.rest = bytes.subarray(end)
    return end === 0 ? nothing : this.#withoutMark(bytes.subarray(0, end))
  }

  /** What has begun, with what ends it; nothing may be pushed any more. */
  closed(): Buffer {
    return this.#withoutMark(Buffer.concat([this.rest, Buffer.from('\n\n')]))
  }

  /** Some clients lose the first event to it. */
  #withoutMark(bytes: Buffer): Buffer {
    if (this.#started) return bytes
    this.#started = true
    return bytes.subarray(0, 3).equals(byteOrderMark) ? bytes.subarray(3) : bytes
  }
}

function asBuffer(chunk: Uint8Array | string): Buffer {
  if (typeof chunk === 'string') return Buffer.from(chunk)
  return Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
}

/** Where the last blank line ends; 0 without one. What comes before `known` has been looked at. */
export function endOfLastEvent(bytes: Buffer, known = 0): number {
  // A blank line is three bytes at most before its last one.
  const from = Math.max(0, known - 3)
  const fresh = bytes.subarray(from)
  const plain = fresh.lastIndexOf('\n\n')
  let end = plain === -1 ? 0 : from + plain + 2
  if (!fresh.includes(carriageReturn)) return end
  for (const blank of ['\n\r', '\r\r']) {
    const at = fresh.lastIndexOf(blank)
    if (at === -1) continue
    const after = from + at + 2
    end = Math.max(end, bytes[after] === lineFeed ? after + 1 : after)
  }
  return end
}

const block = /[\s\S]*?(?:\r\n|\r(?!\n)|\n){2}/y
const dataLine = /(?:^|[\r\n])data(?::|[\r\n])/

/** Where the event with this number, from 1, ends. Blocks without data are no events. */
export function endOfEvent(bytes: Buffer, number: number): number {
  const text = bytes.toString('latin1')
  let events = 0
  block.lastIndex = 0
  while (events < number) {
    const match = block.exec(text)
    if (!match) return bytes.length
    if (dataLine.test(match[0])) events++
    if (events === number) return match.index + match[0].length
  }
  return 0
}
