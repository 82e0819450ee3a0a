import type { StreamError } from '../errors/stream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import type { SkippedEvents } from '../framing/sse/follow.js'

export type { SkippedEvents }

/**
 * How a stream of one kind ends: what says that it is complete, and what tells its clients that it is not.
 * Give your own where none of unhang's fits.
 */
export interface StreamDialect {
  /** A short name, for people. */
  readonly name: string
  /** Whether an answer that simply ends is one that was cut off. */
  readonly needsTerminal: boolean
  /** Headers that its clients look for, beside those of every event stream. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Follows one stream. */
  follow(): DialectState
  /** How an answer looks that is no stream; without it, one cannot be made of the other. */
  readonly answers?: AnswerForm | undefined
  /** The JSON body of an error that is told by status, before any event. */
  errorBody(error: StreamError, message: string, requestId?: string): unknown
}

/** A complete answer as JSON, and the events that say the same. */
export interface AnswerForm {
  /** `undefined` for JSON that is no such answer. */
  toEvents(answer: unknown): SSEEvent[] | undefined
  /** Puts the events of one stream together. */
  collect(): CollectedAnswer
}

/** Puts the events of one stream together to one answer. */
export interface CollectedAnswer {
  /** Takes the next event. */
  add(event: SSEEvent): void
  /** What the events added so far say. */
  readonly answer: unknown
}

/** How a stream tells that it failed. */
export interface FailingOptions {
  /** Whether what says "complete" comes all the same. */
  doneAfterError?: boolean | undefined
}

/** One stream, as its dialect sees it. */
export interface DialectState {
  /** Looks at an event on its way to the client. */
  observe(event: SSEEvent): EventRole
  /** Whether the answer is complete, so that nothing is lost if the upstream breaks now. */
  readonly complete: boolean
  /** What still has to be sent so that the client knows that the stream is complete. */
  closing(): SSEEvent[]
  /** What tells the client that the stream failed. */
  failing(error: StreamError, message: string, options?: FailingOptions): SSEEvent[]
  /** An event that says nothing, for clients that take no comments; `undefined` while none would be understood. */
  emptyDelta?(): SSEEvent | undefined
  /**
   * Which events surely say nothing but another piece of the answer, as long as the stream's state allows it: those are
   * not parsed. Only events of one `data:` line without other fields are asked about.
   */
  skips?(): SkippedEvents | undefined
}

/**
 * `terminal`: the stream is complete and nothing may follow; `content`: part of the answer; `error`: the
 * upstream's word that it failed.
 */
export type EventRole = 'terminal' | 'content' | 'error' | 'other'

/** The JSON object that an event carries; `undefined` for data that is none. */
export function jsonOf<Shape extends object>(data: unknown): Partial<Shape> | undefined {
  if (typeof data === 'object' && data !== null) return data as Partial<Shape>
  if (typeof data !== 'string' || !data.trimStart().startsWith('{')) return undefined
  try {
    return JSON.parse(data) as Partial<Shape>
  } catch {
    return undefined
  }
}

/** Sets a property under any name, as `JSON.parse` does: an assignment takes `__proto__` for the prototype. */
export function setOwn(target: object, name: string, value: unknown): void {
  Object.defineProperty(target, name, { value, enumerable: true, writable: true, configurable: true })
}
