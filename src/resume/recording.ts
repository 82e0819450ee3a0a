import { StreamError } from '../errors/stream-error.js'
import { decodeBytes } from '../framing/bytes.js'
import type { EventOutput } from '../stream/event-output.js'
import type { RecordableStream, StreamRecording } from '../stream/resume-target.js'
import { systemClock, within } from '../timeouts/clock.js'
import { Detachment } from './detachment.js'
import { LateRecorder } from './late-recorder.js'
import { RecordedOutput } from './recorded-output.js'
import type { Recorder, RecorderEvents, StoredEnd } from './resume-store.js'
import { completed } from './stored-ends.js'

/** How long the record of a stream waits for its store. */
const endWithinMs = 1_000

/** How long a head waits for a store that does not say whether it has begun. */
const begunWithinMs = 1_000

/** How a stream is recorded. */
export interface RecordingOptions {
  readonly streamId: string
  readonly detachMs: number
  readonly maxBytes: number
  /** Whether the app has chosen the id. */
  readonly isChosen: boolean
  /** Begins the recording. */
  record(events: RecorderEvents): Promise<Recorder>
}

/** One stream that is being recorded, and goes on for a while when its client has left. */
export class Recording implements StreamRecording {
  readonly streamId: string
  readonly isChosen: boolean
  readonly begun: Promise<void>
  hasBegun = false
  isDetached = false
  readonly #stream: RecordableStream
  readonly #options: RecordingOptions
  readonly #recorder: LateRecorder
  #detachment: Detachment | undefined
  #ended: Promise<void> | undefined
  /** The store has not taken the end in time, and perhaps never will. */
  #isEndMissing = false

  constructor(stream: RecordableStream, options: RecordingOptions) {
    this.streamId = options.streamId
    this.isChosen = options.isChosen
    this.#stream = stream
    this.#options = options
    const recorder = options.record({
      stop: () => stream.stop(new StreamError('aborted')),
      fenced: () => stream.stop(new StreamError('aborted', { message: 'This server gave up the answer.' })),
    })
    this.#recorder = new LateRecorder(recorder)
    this.begun = untilBegun(recorder)
    const begun = () => {
      this.hasBegun = true
    }
    this.begun.then(begun, begun)
  }

  get isComplete(): boolean {
    return this.#recorder.complete && !this.#isEndMissing
  }

  append(events: Uint8Array | string, count: number): void {
    if (this.#ended || count === 0) return
    const text = typeof events === 'string' ? events : decodeBytes(events)
    this.#recorder.append(text, count)
    this.#detachment?.append(text)
  }

  detach(over: () => void): boolean {
    const { detachMs, maxBytes } = this.#options
    if (this.isDetached || this.#ended || detachMs === 0 || !this.isComplete) return false
    this.isDetached = true
    // Not in the turn in which the handler reads: see GuardOutput.
    const full = () => systemClock.setImmediate(() => this.#stream.stop(tooMuch()))
    this.#detachment = new Detachment(this.#recorder, { detachMs, maxBytes, over, full })
    return true
  }

  giveUp(): void {
    this.#recorder.giveUp()
  }

  inFrontOf(output: EventOutput): EventOutput {
    return new RecordedOutput(output, this)
  }

  complete(): void {
    this.end(completed)
  }

  /** How the stream has ended, once; nothing is recorded after it. */
  end(how: StoredEnd): void {
    this.#ended ??= this.#recordEnd(how)
    this.#detachment?.end()
  }

  /** When the end has been recorded, or is not waited for any more. */
  get ended(): Promise<void> | undefined {
    return this.#ended
  }

  async #recordEnd(how: StoredEnd): Promise<void> {
    this.#isEndMissing = !(await within(this.#recorder.end(how), endWithinMs).catch(() => false))
  }
}

function tooMuch(): StreamError {
  const message = 'The client has left, and no other client has read the answer since.'
  return new StreamError('client_gone', { code: 'resume_full', message })
}

/** A store that takes longer, or fails, is not waited for. @throws StreamError for an id that is taken */
async function untilBegun(recorder: Promise<Recorder>): Promise<void> {
  try {
    await within(recorder, begunWithinMs)
  } catch (error) {
    if ((error as Error | undefined)?.name !== 'StreamIdTaken') return
    const message = 'A stream with this id is being produced.'
    throw new StreamError('aborted', {
      status: 409,
      code: 'stream_id_taken',
      message,
      // The clients of OpenAI would.
      retryable: false,
      cause: error,
    })
  }
}
