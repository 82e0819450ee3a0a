import type { ServerResponse } from 'node:http'
import type { Transcript } from '../dialects/transcript.js'
import { shown } from '../errors/bad-input.js'
import type { StreamError } from '../errors/stream-error.js'
import type { Framing } from '../framing/framing.js'
import type { EventOutput } from './event-output.js'
import type { StreamSettings } from './settings.js'

/** The value of the option `resume`; `createResume` of `unhang/resume` returns one. */
export interface ResumeTarget {
  /** Starts to record a stream. @returns nothing if it could never be rejoined */
  record(stream: RecordableStream): StreamRecording | undefined
}

/** The parts of a stream that a recording needs. */
export interface RecordableStream {
  readonly requestId: string
  readonly model: string | undefined
  /** The request, or its context, as the app's functions get it. */
  readonly request: object
  readonly framing: Framing
  readonly transcript: Transcript
  /** Ends the stream. */
  stop(reason: StreamError): void
}

/** One stream that is being recorded. */
export interface StreamRecording {
  readonly streamId: string
  /** Whether the app has chosen its id, which may be taken. */
  readonly isChosen: boolean
  /** Resolves when the store has the id, or is not waited for. @throws StreamError for an id that is taken */
  readonly begun: Promise<void>
  /** Whether the client has left, and the stream goes on without it. */
  readonly isDetached: boolean
  /** Whole events that the client gets, or would get. */
  append(events: Uint8Array | string, count: number): void
  /**
   * The client has left.
   *
   * @param over called when the stream has gone on for long enough
   * @returns whether it goes on
   */
  detach(over: () => void): boolean
  /** The client has all of it, and may begin its next stream, even under the same id. */
  complete(): void
  /** Later events cannot be recorded: their readers get a gap. */
  giveUp(): void
  /** The output in front of the response's own. */
  inFrontOf(output: EventOutput): EventOutput
}

/** The response header that names a recorded stream. */
export const streamHeader = 'unhang-stream'

const exposed = 'access-control-expose-headers'

/** The headers that name a stream; a page of another origin may read its id where it may read the events. */
export function streamIdHeaders(
  streamId: string,
  { writer }: StreamSettings,
  hasHeader: (name: string) => boolean,
): Record<string, string> {
  const isExposed = !writer.cors || hasHeader(exposed)
  return { [streamHeader]: streamId, ...(!isExposed && { [exposed]: streamHeader }) }
}

/** Names the stream in the response's headers. */
export function setStreamId(response: ServerResponse, streamId: string, settings: StreamSettings): void {
  if (response.headersSent) return
  const headers = streamIdHeaders(streamId, settings, (name) => response.hasHeader(name))
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
}

/** Keeps the head back until a client that reads the id in it can use it, unless the response ends before. */
export function holdHead(response: ServerResponse, { begun }: StreamRecording): void {
  response.cork()
  const letGo = () => {
    if (!response.writableEnded) response.uncork()
  }
  begun.then(letGo, letGo)
}

/** @throws TypeError for a value that `createResume` has not made */
export function checkResume(resume: unknown): void {
  if (resume === undefined || typeof (Object(resume) as Partial<ResumeTarget>).record === 'function') return
  throw new TypeError(`resume must be the result of createResume(options), got ${shown(resume)}`)
}
