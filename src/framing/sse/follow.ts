import { StreamError } from '../../errors/stream-error.js'
import { reportedError } from '../../errors/upstream-report.js'
import { asBytes, byteLength, byteOrderMark, decodeBytes, decodeByteText, toByteText } from '../bytes.js'
import type { Follower } from '../framing.js'
import { isWholeJson } from '../json.js'
import { endOfBlock, endOfPlainBlock, isPiece, type SkippedEvents } from './blocks.js'
import { EventParser, type EventSourceMessage } from './parse.js'

/** The longest event, and the longest answer of any other kind, that is accepted. */
export const defaultMaxEventBytes = 8 * 1024 * 1024

export interface FollowOptions {
  /** Asked for each event: which kind need not be parsed now. */
  skips?: (() => SkippedEvents | undefined) | undefined
  /** One more piece of the answer has come; it is not parsed. */
  onSkipped?: ((end: number) => void) | undefined
  /** The longest event that is accepted. */
  maxEventBytes?: number | undefined
  /** A longer event is not a failure: its bytes are let go as they come, and it is handed out by its name alone. */
  passesLarge?: boolean | undefined
}

/** A blank line has begun in these bytes, if the next bytes end it. */
const overlap = 3
/** Longer than any comment that is worth a look. */
const maxCommentBytes = 1_024
/** Where the name of an event stands, if it has one. */
const maxNameBytes = 1_024
const eventName = /^event: ?([^\r\n]*)/m
// Whole comments, and lines that only say when to reconnect, begin no event.
const lineEnd = /[\r\n]/
const commentsAtStart = /^(?:\n|:[^\r\n]*(?:\r\n|\r(?!$)|\n))+/
const commentLines = /^(?:\r\n|\r(?!$)|\n|(?::|retry *:)[^\r\n]*(?:\r\n|\r(?!$)|\n))*$/

/**
 * llama.cpp long sent this in place of an error event, and then its `[DONE]`: a field that no client reads.
 *
 * @see https://github.com/ggml-org/llama.cpp/pull/16109
 */
const errorField = /^error: *(\{.*\})[\r\n]/

/**
 * Follows the bytes of one event stream, cut anywhere: hands out its events, each with the offset of its end.
 *
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */
export class EventFollower implements Follower {
  /** The mistake in the event after the last one that was handed out; nothing is handed out from then on. */
  failure: StreamError | undefined
  /** How many bytes at the start are a byte order mark, which is part of no event. */
  markBytes = 0
  readonly #onEvent: (event: EventSourceMessage, end: number) => void
  readonly #options: FollowOptions
  readonly #maxEventBytes: number
  readonly #parser = new EventParser()
  /** The event that has begun, as a byte text. */
  #open = ''
  /** Whether it begins with a comment. To look into the text itself would join its pieces each time. */
  #isComment = false
  /** How many of its bytes are not kept: comments, and most of an event that is too large. */
  #dropped = 0
  #isTooLarge = false
  /** Its last bytes. Apart from the rest, so that a long event is joined once and not with each piece. */
  #tail = ''
  /** How many bytes so far are whole events. */
  #whole = 0
  /** The last two bytes of the last event: a CR may yet be half of a CRLF. */
  #lastEnd = ''

  constructor(onEvent: (event: EventSourceMessage, end: number) => void, options: FollowOptions = {}) {
    const { maxEventBytes = defaultMaxEventBytes } = options
    if (!(maxEventBytes > 0))
      throw new TypeError(`relay.maxEventBytes must be a number above 0, got ${String(maxEventBytes)}`)
    this.#onEvent = onEvent
    this.#options = options
    this.#maxEventBytes = maxEventBytes
  }

  /** @returns how many of all bytes so far are whole events */
  push(chunk: Uint8Array | string): number {
    if (this.failure || chunk.length === 0) return this.#whole
    const bytes = asBytes(chunk)
    const text = toByteText(bytes)
    let at = this.#lastEnd.endsWith('\r') ? this.#skipHalf(text) : 0
    const before = this.#tail.length
    const searched = before === 0 ? text : this.#tail + text
    const find = searched.includes('\r') ? endOfBlock : endOfPlainBlock
    for (let end = find(searched, at); end > 0; end = find(searched, at + before)) {
      const next = end - before
      if (this.#open !== '') this.#block(this.#open + text.slice(0, next), undefined, 0, next - at)
      else this.#block(text.slice(at, next), bytes, at, next - at)
      if (this.failure) return this.#whole
      at = next
    }
    if (at < text.length) this.#keep(text.slice(at))
    return this.#whole
  }

  /** The second half of a CRLF belongs to the event before. */
  #skipHalf(text: string): number {
    this.#lastEnd = ''
    if (!text.startsWith('\n')) return 0
    this.#whole++
    return 1
  }

  #keep(text: string): void {
    this.#lastEnd = ''
    if (this.#open === '') this.#isComment = text.startsWith(':')
    this.#tail = text.length >= overlap ? text.slice(-overlap) : (this.#tail + text).slice(-overlap)
    if (this.#isTooLarge) {
      this.#dropped += text.length
      return
    }
    this.#open += text
    if (this.#isComment && this.#open.length > maxCommentBytes && lineEnd.test(text)) this.#dropComments()
    if (this.#open.length <= this.#maxEventBytes) return
    if (this.#options.passesLarge) this.#shorten()
    else this.failure = tooLargeEvent(this.#maxEventBytes)
  }

  #shorten(): void {
    this.#isTooLarge = true
    const firstLines = this.#open.slice(0, maxNameBytes)
    this.#dropped += this.#open.length - firstLines.length
    this.#open = firstLines
  }

  /** An upstream that sends nothing else is not remembered for ever. */
  #dropComments(): void {
    const rest = this.#open.replace(commentsAtStart, '')
    this.#dropped += this.#open.length - rest.length
    this.#open = rest
    this.#isComment = rest.startsWith(':')
  }

  /** A block of lines with its blank line; its bytes stand in this chunk, if they do not stand in several. */
  #block(block: string, bytes: Uint8Array | undefined, start: number, length: number): void {
    const end = this.#whole + this.#dropped + block.length
    this.#open = this.#tail = ''
    this.#dropped = 0
    if (this.#isTooLarge) return this.#passLarge(block, end)
    const mark = this.#markOf(block)
    const skips = this.#options.skips?.()
    if (skips && block.length <= this.#maxEventBytes && isPiece(block, skips)) {
      this.#ended(block, end)
      return this.#options.onSkipped?.(end)
    }
    const text = bytes ? decodeBytes(bytes, start + mark, start + length) : decodeByteText(block.slice(mark))
    this.#read(text, block, end)
  }

  /** @param block its first lines and its last */
  #passLarge(block: string, end: number): void {
    this.#isTooLarge = false
    this.#ended(block, end)
    if (block.startsWith(':')) return
    const name = eventName.exec(block.slice(0, maxNameBytes))?.[1]
    if (name === undefined) this.#options.onSkipped?.(end)
    else this.#onEvent({ event: name, data: '', id: undefined }, end)
  }

  /** @returns how many bytes of the first event are a byte order mark */
  #markOf(first: string): number {
    if (this.#whole > 0 || !first.startsWith(byteOrderMark)) return 0
    this.markBytes = byteOrderMark.length
    return this.markBytes
  }

  #read(text: string, block: string, end: number): void {
    const event = this.#parser.parse(text)
    const isTooLarge = block.length > this.#maxEventBytes && !this.#options.passesLarge
    if (event && isTooLarge && byteLength(event.data) > this.#maxEventBytes) {
      this.failure = tooLargeEvent(this.#maxEventBytes)
      return
    }
    const [, report] = event ? [] : (errorField.exec(text) ?? [])
    if (report !== undefined) {
      this.failure = reportedError(report)
      return
    }
    this.#ended(block, end)
    if (event) this.#onEvent(event, end)
  }

  #ended(block: string, end: number): void {
    this.#whole = end
    this.#lastEnd = block.slice(-2)
  }

  /**
   * The stream has ended. The specification drops a last event that lacks its blank line. Upstreams that forget the
   * blank line after their `[DONE]` are too common for that, so one is handed out whose data is a whole JSON document.
   *
   * @returns how many of all bytes are whole events
   */
  end(): number {
    // Whether an event that is too large is whole is unknown.
    if (this.failure || this.#isTooLarge || this.#open === '') return this.#whole
    const open = this.#open
    const end = this.#whole + this.#dropped + open.length
    const event = this.#parser.parse(`${decodeByteText(open.slice(this.#markOf(open)))}\n\n`)
    if (!event || !(event.data === '[DONE]' || isWholeJson(event.data))) return this.#whole
    this.#open = this.#tail = ''
    this.#dropped = 0
    this.#whole = end
    this.#onEvent(event, end)
    return end
  }

  /** The bytes after the last whole event. */
  get gap(): Follower['gap'] {
    if (this.#lastEnd === '\n\r') return 'half'
    if (this.#isTooLarge) return 'event'
    if (this.#open === '') return this.#dropped > 0 ? 'comment' : 'none'
    return this.#open.length <= maxCommentBytes && commentLines.test(this.#open) ? 'comment' : 'event'
  }
}

export function tooLargeEvent(maxEventBytes: number): StreamError {
  return new StreamError('upstream_protocol', {
    code: 'upstream_event_too_large',
    message: `The upstream sent an event of more than ${maxEventBytes} bytes.`,
  })
}
