import { createParser, type EventSourceMessage } from 'eventsource-parser'
import { byteOrderMark, decodeByteText, toByteText } from './byte-text.js'
import { StreamError } from './errors.js'

export type { EventSourceMessage }

/** The longest event, and the longest answer of any other kind, that is accepted. */
export const defaultMaxEventBytes = 8 * 1024 * 1024

/** Parses chunks of bytes, cut anywhere, into events. */
export class EventStreamParser {
  readonly #feed: (text: string) => void
  readonly #maxEventBytes: number
  #started = false
  /** What has come, while it may be the beginning of a byte order mark. */
  #start = ''
  #endedInCR = false
  #ended = false
  #endedInLine = true
  #tooLong = false

  constructor(onEvent: (event: EventSourceMessage) => void, maxEventBytes = defaultMaxEventBytes) {
    if (!(maxEventBytes > 0)) {
      throw new TypeError(`relay.maxEventBytes must be a number above 0, got ${String(maxEventBytes)}`)
    }
    this.#maxEventBytes = maxEventBytes
    const parser = createParser({
      maxBufferSize: maxEventBytes,
      onEvent: (event) => {
        // What comes after an event that is missing would be read as what came instead of it.
        if (this.#tooLong || event.data.length > maxEventBytes) this.#tooLong = true
        else if (!this.#ended || this.#isWhole(event.data)) onEvent(decoded(event))
      },
      onError: ({ type }) => {
        if (type === 'max-buffer-size-exceeded') this.#tooLong = true
      },
    })
    this.#feed = parser.feed
  }

  feed(chunk: Uint8Array | string): void {
    this.feedText(toByteText(chunk))
  }

  /** @param text see `toByteText` */
  feedText(text: string): void {
    if (this.#tooLong) return
    const rest = this.#started ? text : this.#afterMark(text)
    if (rest !== '') this.#feed(this.#withLFs(rest))
  }

  /** Call after each feed, when its events have been taken care of. */
  check(): void {
    if (this.#tooLong) throw this.failure
  }

  /** Call for an event that is kept elsewhere until it is whole. */
  checkLength(bytes: number): void {
    if (bytes > this.#maxEventBytes) this.#tooLong = true
    this.check()
  }

  /** What is wrong with the event after the last one that was handed out. */
  get failure(): StreamError | undefined {
    if (!this.#tooLong) return undefined
    return new StreamError('upstream_protocol', {
      code: 'upstream_event_too_large',
      message: `The upstream sent an event of more than ${this.#maxEventBytes} bytes.`,
    })
  }

  /**
   * The upstream has ended. The specification drops a last event that lacks its blank line; upstreams that
   * forget it after their `[DONE]` are too common for that, so an event that is evidently whole is kept.
   */
  end(): void {
    if (this.#tooLong) return
    if (!this.#started) this.#feed(this.#start)
    this.#ended = true
    this.#feed('\n\n')
    this.check()
  }

  /** The parser knows a byte order mark only in one piece. */
  #afterMark(text: string): string {
    const start = this.#start + text
    this.#started = !byteOrderMark.startsWith(start)
    this.#start = this.#started ? '' : start
    return this.#started ? start : ''
  }

  /** The parser waits with a CR for what follows it; an event that ends in CR must not wait with it. */
  #withLFs(text: string): string {
    if (!this.#endedInCR && !text.includes('\r')) {
      this.#endedInLine = text.endsWith('\n')
      return text
    }
    const afterCR = this.#endedInCR && text.startsWith('\n')
    const lines = afterCR ? text.slice(1) : text
    this.#endedInCR = text.endsWith('\r')
    if (lines === '') return ''
    this.#endedInLine = lines.endsWith('\n') || this.#endedInCR
    return lines.replace(/\r\n?/g, '\n')
  }

  #isWhole(data: string): boolean {
    return this.#endedInLine || data === '[DONE]' || isJson(data)
  }
}

function decoded(message: EventSourceMessage): EventSourceMessage {
  const { data, event, id } = message
  message.data = decodeByteText(data)
  if (event !== undefined) message.event = decodeByteText(event)
  if (id !== undefined) message.id = decodeByteText(id)
  return message
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
