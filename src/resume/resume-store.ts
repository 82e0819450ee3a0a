/** The facts that a store keeps of one stream beside its events. */
export interface RecordedStream {
  /** SHA-256 of the owner, base64url; not set: every client that knows the id may read. */
  readonly owner: string | undefined
  /** The dialect of the events, by its name; with a question mark as long as only the request says so. */
  readonly dialect: string
  /** The framing of the events: `'sse'` or `'ndjson'`. */
  readonly framing: 'sse' | 'ndjson'
  /** The id of the stream in logs and records. */
  readonly requestId: string
  /** The requested model. */
  readonly model: string | undefined
  /** How much is kept, and for how long after the end. */
  readonly limits: {
    /** Of one stream, in bytes. */
    readonly maxBytes: number
    /** Of one stream. */
    readonly maxEvents: number
    /** After its end, in milliseconds. */
    readonly ttlMs: number
  }
}

/** How a stream ended; each reader's process makes the dialect's own event of it. */
export interface StoredEnd {
  /** `'completed'`, or why it failed, as in `StreamEnd`. */
  readonly outcome: string
  /** A name for programs, in the client's error. */
  readonly code: string | undefined
  /** The message that the client reads. */
  readonly message: string | undefined
  /** The HTTP status of a failure, where the end says one: dialects name their errors by it. */
  readonly status?: number | undefined
}

/** The pieces that a follower gets, in order. Events are numbered from 1; nothing comes after `end`. */
export type Followed =
  /** Whole, encoded events. They may begin before the one that was asked for, never after it. */
  | {
      /** Whole, encoded events. */
      readonly events: string
      /** The number of the first of them. */
      readonly first: number
      /** The number of the last of them. */
      readonly last: number
    }
  /** These are no longer there, both included. Events that are still there follow. */
  | {
      /** The first and the last number that is missing. */
      readonly gap: readonly [from: number, to: number]
    }
  | {
      /** How the stream ended. */
      readonly end: StoredEnd
    }

/** A store's present knowledge of a stream. */
export interface FoundStream {
  /** The facts that were recorded with it. */
  readonly about: RecordedStream
  /** The first event that is still there; 0 when there was none yet. */
  readonly first: number
  /** The last event; 0 when there was none yet. */
  readonly last: number
  /** Not set: the stream is still being produced. */
  readonly end: StoredEnd | undefined
}

/** The calls that a recorder gets from its store. */
export interface RecorderEvents {
  /** A client asked for the end of this stream, in this process or another. */
  stop(why: string): void
  /** Another process ended this stream: whatever is appended from now on is refused. */
  fenced(): void
}

/** Records one stream. Nothing here waits, and nothing throws. */
export interface Recorder {
  /** Adds whole, encoded events; `events` numbers follow on from those before. */
  append(events: string, count: number): void
  /** Whether all that was appended is recorded, or still going to be. */
  readonly complete: boolean
  /** How many followers read it now, as far as this process knows. */
  readonly followers: number
  /** Resolves once the end is recorded, or cannot be. */
  end(how: StoredEnd): Promise<void>
}

/** Where streams are recorded. */
export interface ResumeStore {
  /**
   * Begins to record a stream.
   *
   * @throws StreamIdTaken if a stream of this id is being produced
   */
  record(id: string, about: RecordedStream, events: RecorderEvents): Promise<Recorder>
  /** Returns what is known of a stream; `undefined` if it is not there. */
  find(id: string): Promise<FoundStream | undefined>
  /** Yields every event after the first `after` ones, then the live rest, until its end or the signal. */
  follow(id: string, after: number, signal: AbortSignal): AsyncIterable<Followed>
  /**
   * Stops a stream, in the process that produces it.
   *
   * @returns whether there was a stream to stop
   */
  stop(id: string, why?: string): Promise<boolean>
}
