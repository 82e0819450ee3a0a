import { Buffer } from 'node:buffer'
import type { ServerResponse } from 'node:http'
import { appRequestOf } from '../client/app-request.js'
import { wasLeft } from '../client/response.js'
import type { Exchange } from '../stream/exchange.js'
import { holdHead, type StreamRecording, setStreamId } from '../stream/resume-target.js'
import { adoptionOf } from './adopt-options.js'
import type { WatchedResponse } from './handle.js'
import { interceptClose } from './intercept.js'

/** The property in which the package on-finished keeps its state. Koa and loggers hear by it that a response is over. */
interface WithListeners {
  __onFinished?: { queue: ((error: unknown, response: ServerResponse) => void)[] | null } | null
}

/** An event that is longer than this is not kept until it is whole. */
const maxOpenBytes = 16 * 1024 * 1024

/** Records the stream of a guarded response, whose headers are about to be sent; `undefined` if it could never be rejoined. */
export function recordResponse(guard: WatchedResponse, exchange: Exchange): RecordedResponse | undefined {
  const { settings, subject, response, timeouts } = guard
  const { requestId, model, framing } = subject
  const recording = settings.resume?.record({
    requestId,
    model,
    request: appRequestOf(response.req),
    framing,
    transcript: exchange.transcript,
    stop: (reason) => {
      letGoOfCalls(guard)
      if (timeouts.settle(reason)) guard.calls?.stopped(reason)
    },
  })
  if (!recording) return undefined
  exchange.recordTo(recording)
  // Whether an id is free that the app has chosen is not known yet. The app knows it anyway.
  if (!recording.isChosen) setStreamId(response, recording.streamId, settings)
  holdHead(response, recording)
  return new RecordedResponse(guard, recording)
}

/** The app gives the stream up, and with it the upstream calls of its handler, unless it has said something else of these. */
function letGoOfCalls({ settings, response, calls }: WatchedResponse): void {
  const adopt = adoptionOf(settings.adopt, response.req)
  if (adopt && adopt.onDisconnect === undefined) calls?.refine({ ...adopt, onDisconnect: 'cancel' })
}

/**
 * A guarded response whose stream is recorded. When the client leaves, its handler does not hear of it as long as the stream
 * goes on.
 */
export class RecordedResponse {
  readonly #guard: WatchedResponse
  readonly #recording: StreamRecording
  /** Whether the response has closed, and no listener has heard of it. */
  #isHeld = false
  #isOver = false
  /** The listeners that would have heard of it from the connection. */
  #waiting: ((error: unknown, response: ServerResponse) => void)[] = []
  /** The event that has begun. */
  #open: Buffer[] = []
  #openBytes = 0
  /** How many bytes, and how many events, have been recorded. */
  #bytes = 0
  #events = 0

  constructor(guard: WatchedResponse, recording: StreamRecording) {
    this.#guard = guard
    this.#recording = recording
    interceptClose(guard.response, () => this.#hold())
  }

  /** Whether the client has left, and the stream goes on without it. */
  get isDetached(): boolean {
    return this.#recording.isDetached
  }

  /** The client has all of it, although its upstream may not have ended yet. */
  complete(): void {
    this.#recording.complete()
  }

  /** The client's bytes cannot be recorded. */
  giveUp(): void {
    this.#recording.giveUp()
  }

  /**
   * The handler has written more.
   *
   * @param whole how many of all bytes so far are whole events
   * @param events how many events those are
   */
  take(bytes: Buffer, whole: number, events: number): void {
    this.#open.push(bytes)
    this.#openBytes += bytes.length
    if (whole > this.#bytes) this.#record(whole - this.#bytes, events)
    else if (this.#openBytes > maxOpenBytes) this.giveUp()
    // Later bytes may be written into the same memory.
    else if (bytes.length > 0) this.#open[this.#open.length - 1] = Buffer.from(bytes)
  }

  #record(length: number, events: number): void {
    const all = this.#open.length === 1 ? (this.#open[0] as Buffer) : Buffer.concat(this.#open)
    this.#recording.append(all.subarray(0, length), events - this.#events)
    this.#bytes += length
    this.#events = events
    this.#openBytes = Math.max(all.length - length, 0)
    this.#open = this.#openBytes > 0 ? [Buffer.from(all.subarray(length))] : []
  }

  /**
   * The stream ends with this.
   *
   * @param text what closes an event that has begun, and whole events
   * @param events how many events there are then
   */
  finish(text: string, events: number): void {
    if (text === '') return
    this.take(Buffer.from(text), this.#bytes + this.#openBytes + Buffer.byteLength(text), events)
  }

  /** @returns whether listeners are not to hear yet that the response has closed */
  #hold(): boolean {
    const { response, state, sawTerminal } = this.#guard
    if (this.#isHeld || state !== 'streaming' || sawTerminal || !wasLeft(response)) return false
    this.#isHeld = this.#recording.detach(() => this.#over())
    if (!this.#isHeld) return false
    const { __onFinished: listeners } = response as WithListeners
    this.#waiting = listeners?.queue ?? []
    if (listeners) listeners.queue = null
    // Writes that wait for the client need not wait any more.
    setImmediate(() => response.emit('drain'))
    return true
  }

  /** Now all listeners may hear that it has closed. */
  #close(): void {
    const { response } = this.#guard
    this.#isOver = true
    response.emit('close')
    for (const heard of this.#waiting.splice(0)) heard(null, response)
  }

  /** The stream has gone on for long enough. */
  #over(): void {
    letGoOfCalls(this.#guard)
    this.#close()
  }

  /**
   * The stream is over.
   *
   * @param isComplete whether its handler has nothing to be notified of
   */
  release(isComplete: boolean): void {
    if (!this.#isHeld || this.#isOver) return
    const { response } = this.#guard
    if (isComplete) response.emit('finish')
    this.#close()
  }
}
