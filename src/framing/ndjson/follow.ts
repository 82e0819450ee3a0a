import { asBytes, byteOrderMark, copyBytes, decodeBytes, isMarked, joinBytes, toByteText } from '../bytes.js'
import type { Follower } from '../framing.js'
import { isJson, isWholeJson } from '../json.js'
import { defaultMaxEventBytes, type FollowOptions, tooLargeEvent } from '../sse/follow.js'
import type { EventSourceMessage } from '../sse/parse.js'

const lineFeed = 10
export const recordSeparator = '\x1e'

/** @returns the event of a line; `undefined` for an empty one */
export function parseLine(text: string): EventSourceMessage | undefined {
  const line = (text.startsWith(recordSeparator) ? text.slice(1) : text).trim()
  return line === '' ? undefined : { id: undefined, event: undefined, data: line }
}

/** Whether a line may stand in a stream of them. */
export function isJsonLine(text: string): boolean {
  const event = parseLine(text)
  return event === undefined || isJson(event.data)
}

/** Follows the lines of one stream, cut anywhere. */
export class LineFollower implements Follower {
  failure: Follower['failure']
  markBytes = 0
  readonly #onEvent: (event: EventSourceMessage, end: number) => void
  readonly #options: FollowOptions
  readonly #maxEventBytes: number
  /** The line that has begun. */
  #open: Uint8Array[] = []
  #openBytes = 0
  #isTooLarge = false
  /** How many bytes so far are whole lines. */
  #whole = 0

  constructor(onEvent: (event: EventSourceMessage, end: number) => void, options: FollowOptions = {}) {
    this.#onEvent = onEvent
    this.#options = options
    this.#maxEventBytes = options.maxEventBytes ?? defaultMaxEventBytes
  }

  push(chunk: Uint8Array | string): number {
    if (this.failure) return this.#whole
    const bytes = asBytes(chunk)
    let at = 0
    for (let end = bytes.indexOf(lineFeed); end !== -1; end = bytes.indexOf(lineFeed, at)) {
      const rest = bytes.subarray(at, end + 1)
      this.#line(
        this.#openBytes === 0 ? rest : joinBytes([...this.#open, rest]),
        this.#openBytes + rest.length,
      )
      if (this.failure) return this.#whole
      at = end + 1
    }
    if (at < bytes.length) this.#keep(bytes.subarray(at))
    return this.#whole
  }

  #keep(bytes: Uint8Array): void {
    this.#openBytes += bytes.length
    if (this.#openBytes > this.#maxEventBytes) {
      if (!this.#options.passesLarge) this.failure = tooLargeEvent(this.#maxEventBytes)
      this.#isTooLarge = true
      this.#open = []
    }
    // A copy: a view would hold all bytes that came with it.
    if (!this.#isTooLarge) this.#open.push(copyBytes(bytes))
  }

  /** @param length of the whole line, of which one that is too large has lost its beginning */
  #line(bytes: Uint8Array, length: number): void {
    const isTooLarge = this.#isTooLarge || length > this.#maxEventBytes
    if (isTooLarge && !this.#options.passesLarge) {
      this.failure = tooLargeEvent(this.#maxEventBytes)
      return
    }
    const end = this.#whole + length
    const event = isTooLarge ? undefined : parseLine(this.#unmarked(bytes))
    this.#whole = end
    this.#open = []
    this.#openBytes = 0
    this.#isTooLarge = false
    if (isTooLarge) this.#options.onSkipped?.(end)
    else if (event) this.#onEvent(event, end)
  }

  #unmarked(bytes: Uint8Array): string {
    const start = this.#whole === 0 && isMarked(bytes) ? byteOrderMark.length : 0
    this.markBytes ||= start
    return decodeBytes(bytes, start)
  }

  /** A last line without its end is one all the same, if it is whole. */
  end(): number {
    if (this.failure || this.#isTooLarge || this.#openBytes === 0) return this.#whole
    const bytes = joinBytes(this.#open)
    const event = parseLine(this.#unmarked(bytes))
    if (!event || !isWholeJson(event.data)) return this.#whole
    this.#line(bytes, bytes.length)
    return this.#whole
  }

  get gap(): 'none' | 'event' {
    if (this.#isTooLarge) return 'event'
    return this.#open.every((bytes) => toByteText(bytes).trim() === '') ? 'none' : 'event'
  }
}
