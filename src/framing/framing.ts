import type { StreamError } from '../errors/stream-error.js'
import type { SSEEvent } from './sse/encode.js'
import type { FollowOptions } from './sse/follow.js'
import type { EventSourceMessage } from './sse/parse.js'

/** A wire format of events. Three questions: how is an event written, what does it mean, and where does it end? */
export interface Framing {
  readonly name: FramingName
  /** The `Content-Type` of its streams. */
  readonly type: string
  /** The bytes that close an event that has begun. */
  readonly blockEnd: string
  /** One event, as it is written. */
  encode(event: SSEEvent): string
  /** The meaning of the text of one whole event; `undefined` for anything else, such as a comment. */
  parse(text: string): EventSourceMessage | undefined
  /** Follows the bytes of one stream, cut anywhere. */
  follow(onEvent: (event: EventSourceMessage, end: number) => void, options?: FollowOptions): Follower
}

export type FramingName = 'sse' | 'ndjson'

/** The bytes of one stream, as they come. */
export interface Follower {
  /** @returns how many of all bytes so far are whole events */
  push(bytes: Uint8Array | string): number
  /** The stream has ended. @returns how many of all bytes are whole events */
  end(): number
  /** The bytes after the last whole event. `half`: none yet, but its last CR may be half of a CRLF. */
  readonly gap: 'none' | 'comment' | 'event' | 'half'
  /** The mistake in the event after the last one that was handed out; nothing is handed out from then on. */
  readonly failure: StreamError | undefined
  /** How many bytes at the start are a byte order mark, which is part of no event. */
  readonly markBytes: number
}
