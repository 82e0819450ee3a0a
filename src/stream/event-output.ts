import type { StreamError } from '../errors/stream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'

/** How a stream failed, in the words that its client reads. */
export interface EndedWith {
  readonly outcome: string
  readonly code: string
  readonly message: string
  readonly status: number
}

/** The fields of a record about how its stream was recorded. */
export interface RecordingFacts {
  readonly streamId: string
  /** Whether all of it was. */
  readonly recorded: boolean
  readonly detached: boolean
}

/** Where the events of an exchange go, and how it can be ended. */
export interface EventOutput {
  /** Whether the client has had a byte, or will have: then an error has no status of its own. */
  readonly committed: boolean
  /** Whether nothing can be written any more. */
  readonly gone: boolean
  /** Whether that is because the client has left. */
  readonly left: boolean
  /** Whether the app responds in its own way, with anything but an event stream: that can only be cut. */
  readonly isForeign: boolean
  /** Of the response, once its headers have been sent. */
  readonly status: number | undefined
  /** How many have been written so far. */
  readonly events: number
  readonly bytes: number
  readonly heartbeats: number
  /**
   * Writes whole events.
   *
   * @returns what to wait for before the next ones
   * @throws why they are refused
   */
  write(bytes: Uint8Array | string, events: number): Promise<void> | undefined
  /**
   * Ends the stream with these events, in one write, and counts them.
   *
   * @param failure what they report, if they report a failure
   * @throws what keeps it from being ended
   */
  end(events: readonly SSEEvent[], failure?: EndedWith): void
  /** Sends a status and an error body; nothing has been sent so far. */
  respond(reason: StreamError, message: string): void
  /** Cuts the connection. */
  destroy(reason: Error): void
  /** An ending has been decided: no heartbeat, and no look at what still comes. */
  stop(reason: StreamError | undefined): void
  /** Waits until all of it has left this process, and lets go of the response. */
  flushed(): Promise<'flushed' | 'stalled'>
  /** Not set: the stream is not recorded. */
  readonly recording?: RecordingFacts | undefined
}
