import { createParser, type EventSourceMessage, type EventSourceParser } from 'eventsource-parser'
import { StreamError } from '../../errors/stream-error.js'
import { asBuffer, lineFeed } from './framing.js'
import { Utf8Decoder } from './utf8.js'

export type { EventSourceMessage }

/** The longest event, and the longest answer of any other kind, that is accepted. */
export const defaultMaxEventBytes = 8 * 1024 * 1024

/** In bytes. Events are views of the text they were found in: one that somebody keeps must not keep much of it. */
const longestPiece = 8 * 1024

/**
 * Parses chunks of bytes, cut anywhere, into events. One that is too long is refused at the latest when it ends; before, its
 * characters are counted, so that about three times as many bytes may be taken.
 */
export class EventStreamParser {
  readonly #onEvent: (event: EventSourceMessage) => void
  readonly #maxEventBytes: number
  readonly #decoder = new Utf8Decoder()
  /** Many streams need none: see `#feedText`. */
  #parser: EventSourceParser | undefined
  #started = false
  #betweenEvents = true
  #endedInCR = false
  #ended = false
  #endedInLine = true
  #tooLong = false

  constructor(onEvent: (event: EventSourceMessage) => void, maxEventBytes = defaultMaxEventBytes) {
    if (!(maxEventBytes > 0)) {
      throw new TypeError(`relay.maxEventBytes must be a number above 0, got ${String(maxEventBytes)}`)
    }
    this.#onEvent = onEvent
    this.#maxEventBytes = maxEventBytes
  }

  feed(chunk: Uint8Array | string): void {
    const bytes = asBuffer(chunk)
    if (bytes.length <= longestPiece) return this.#feedPiece(bytes)
    for (let at = 0; at < bytes.length; at += longestPiece) {
      this.#feedPiece(bytes.subarray(at, at + longestPiece))
    }
  }

  #feedPiece(bytes: Buffer): void {
    if (!this.#tooLong) this.#feedText(this.#decoder.decode(bytes))
  }

  #feedText(text: string): void {
    if (text === '') return
    // As most come at the pace of tokens: there is nothing to be found in it.
    if (this.#betweenEvents && isOneEvent(text)) {
      this.#started = true
      return this.#hand({ id: undefined, event: undefined, data: text.slice(dataField.length, -2) })
    }
    const isMarked = !this.#started && text.startsWith('\ufeff')
    this.#started = true
    const rest = this.#withLFs(isMarked ? text.slice(1) : text)
    if (rest === '') return
    this.#betweenEvents = !this.#endedInCR && rest.endsWith('\n\n')
    this.#parser ??= this.#createParser()
    this.#parser.feed(rest)
  }

  #createParser(): EventSourceParser {
    const parser = createParser({
      maxBufferSize: this.#maxEventBytes,
      onEvent: (event) => this.#hand(event),
      onError: ({ type }) => {
        if (type === 'max-buffer-size-exceeded') this.#tooLong = true
      },
    })
    // It takes the first three characters for the bytes of a byte order mark.
    parser.feed('')
    return parser
  }

  #hand(event: EventSourceMessage): void {
    // What comes after an event that is missing would be read as what came instead of it.
    if (this.#tooLong || isLonger(event.data, this.#maxEventBytes)) this.#tooLong = true
    else if (!this.#ended || this.#isWhole(event.data)) this.#onEvent(event)
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
    this.#feedText(this.#decoder.end())
    this.#ended = true
    this.#parser?.feed('\n\n')
    this.check()
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

const dataField = 'data: '

/** Whether this is an event of one line, which holds data, and nothing else. */
function isOneEvent(text: string): boolean {
  const end = text.length - 2
  if (text.charCodeAt(end) !== lineFeed || text.charCodeAt(end + 1) !== lineFeed) return false
  return text.startsWith(dataField) && text.indexOf('\n') === end && !text.includes('\r')
}

function isLonger(text: string, bytes: number): boolean {
  // No code unit of a string is more than three bytes of UTF-8.
  return text.length * 3 > bytes && Buffer.byteLength(text) > bytes
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
