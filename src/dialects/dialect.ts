import type { StreamError } from '../errors/stream-error.js'
import type { SkippedEvents } from '../framing/sse/blocks.js'
import type { SSEEvent } from '../framing/sse/encode.js'

export type { SkippedEvents }

/**
 * How the streams of one API end, and how they report errors. Write your own where none of {@link dialects} fits.
 *
 * @example
 * const mine: StreamDialect = { ...dialects.plain, errorBody: ({ code }, message) => ({ failed: code, message }) }
 * app.use(guardStreams({ dialect: mine }))
 */
export interface StreamDialect {
  /** A short name for people to read. */
  readonly name: string
  /** Whether a stream that ends without a terminal event was cut off. */
  readonly needsTerminal: boolean
  /** Headers that its clients expect, beside those of every event stream. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /**
   * Whether its clients take comments. `false`: there are no heartbeats, or, with `writer: { heartbeat: 'empty-delta' }`,
   * an {@link DialectState.emptyDelta}.
   *
   * @defaultValue `true`
   */
  readonly takesComments?: boolean | undefined
  /**
   * The wire format of its streams: server-sent events, or JSON lines (`application/x-ndjson`).
   *
   * @defaultValue `'sse'`
   */
  readonly framing?: 'sse' | 'ndjson' | undefined
  /** Whether its answers may take as long as they take: unless set, only a client that does not read has a deadline. */
  readonly isUnhurried?: boolean | undefined
  /** Returns the wire text of one event that unhang writes. Not set: {@link encodeEvent}. */
  encode?(event: SSEEvent): string
  /** Starts to follow one stream. */
  follow(request?: DialectRequest): DialectState
  /** Converts between a JSON answer and a stream; optional. */
  readonly answers?: AnswerForm | undefined
  /** Returns the JSON body of an error that is reported by status, before any event. */
  errorBody(error: StreamError, message: string, requestId?: string): unknown
}

/**
 * The request that a stream responds to, as far as it is known.
 *
 * @example
 * const follow = (request: DialectRequest = {}) => dialects.openaiChat.follow({ ...request, model: 'mine' })
 */
export interface DialectRequest {
  /** The HTTP method. */
  readonly method?: string | undefined
  /** By lower-case names. */
  readonly headers?: Readonly<Record<string, string | readonly string[] | undefined>> | undefined
  /** The parsed body. Not set: it has not been parsed. */
  readonly body?: unknown
  /** The requested model. Not set: it is unknown. */
  readonly model?: string | undefined
}

/** Converts between a JSON answer and the events of a stream. */
export interface AnswerForm {
  /** Returns the events of a JSON answer, best one by one as they are asked for; `undefined` for any other JSON. */
  toEvents(answer: unknown): Iterable<SSEEvent> | undefined
  /** Starts to put the events of one stream together. */
  collect(): CollectedAnswer
}

/** Puts the events of one stream together into one answer. */
export interface CollectedAnswer {
  /** Takes the next event. */
  add(event: SSEEvent): void
  /** The JSON answer that the events so far amount to. */
  readonly answer: unknown
  /** How large the answer has become, in characters. Not set: `readAnswer` does not limit it. */
  readonly size?: number
}

/**
 * The options of {@link DialectState.failing}.
 *
 * @example
 * const error = new StreamError('upstream_hangup')
 * const events = dialects.openaiChat.follow().failing(error, error.message, { doneAfterError: true })
 */
export interface FailingOptions {
  /** Whether to send `[DONE]` after an error event, too. @defaultValue `false` */
  doneAfterError?: boolean | undefined
}

/** Follows one stream of a dialect. */
export interface DialectState {
  /** Inspects an event on its way to the client. */
  observe(event: SSEEvent): EventRole
  /** Whether the answer is complete, so that nothing is lost if the upstream breaks now. */
  readonly complete: boolean
  /** Whether the stream may end now, though more could come: a break would be a failure. Not set: as `complete`. */
  readonly mayEnd?: boolean
  /**
   * Whether the terminal event said that the answer was cut short. Nothing is added for the client, but the record says
   * `upstream_truncated`. Not set: it did not.
   */
  readonly cutShort?: boolean
  /** Returns the events that a client still needs to see the stream as complete. */
  closing(): SSEEvent[]
  /**
   * Returns the events that report a failure to the client; none if its stream may simply end. `undefined` where nothing
   * makes its clients fail: then the connection is cut.
   */
  failing(error: StreamError, message: string, options?: FailingOptions): SSEEvent[] | undefined
  /**
   * Returns an event without content, which is sent as a heartbeat; `undefined` while none would be valid.
   */
  emptyDelta?(): SSEEvent | undefined
  /**
   * Returns which events surely hold nothing but another piece of the answer, so that unhang need not parse them.
   *
   * Only events of one `data:` line without other fields are compared.
   */
  skips?(): SkippedEvents | undefined
}

/**
 * The meaning of an event. `terminal`: the stream is complete and nothing may follow. `content`: a part of the answer.
 * `error`: the upstream reports that it failed.
 */
export type EventRole = 'terminal' | 'content' | 'error' | 'other'

/** A stream that is complete with its last event, which cannot be made up. */
export class EndedByEvent {
  complete = false

  readonly closing = (): SSEEvent[] => []
}

/** An object of JSON. It comes from outside: each member may hold anything. */
export interface JsonObject {
  [member: string]: unknown
}

/** The JSON object that an event carries; `undefined` for data that is none. */
export function jsonOf<Shape extends object = JsonObject>(data: unknown): Partial<Shape> | undefined {
  if (typeof data === 'object' && data !== null) return data as Partial<Shape>
  if (typeof data !== 'string' || !data.trimStart().startsWith('{')) return undefined
  try {
    return JSON.parse(data) as Partial<Shape>
  } catch {
    return undefined
  }
}

/** Whether a value of JSON is an object, and no list. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The objects of a list; none of anything else. */
export function objectsIn(list: unknown): JsonObject[] {
  return Array.isArray(list) ? list.filter(isObject) : []
}

/** Sets a property under any name, as `JSON.parse` does: an assignment takes `__proto__` for the prototype. */
export function setOwn(target: object, name: string, value: unknown): void {
  Object.defineProperty(target, name, { value, enumerable: true, writable: true, configurable: true })
}

/** The cost of an entry of an object or a list beside its contents, at the least. */
export const entrySize = 64

/** How large a part of an answer is, in characters. */
export function sizeOf(value: unknown): number {
  return typeof value === 'string' ? value.length : (JSON.stringify(value)?.length ?? 0)
}
