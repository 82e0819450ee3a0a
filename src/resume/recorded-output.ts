import type { StreamError } from '../errors/stream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import type { EndedWith, EventOutput, RecordingFacts } from '../stream/event-output.js'
import type { Recording } from './recording.js'
import type { StoredEnd } from './resume-store.js'
import { completed } from './stored-ends.js'

/** The output of a recorded stream: its end is recorded as well, and it is not gone while the stream goes on alone. */
export class RecordedOutput implements EventOutput {
  readonly #output: EventOutput
  readonly #recording: Recording
  #reason: StreamError | undefined
  /** An end that waits for the store. */
  #ending: Promise<void> | undefined

  constructor(output: EventOutput, recording: Recording) {
    this.#output = output
    this.#recording = recording
  }

  get committed(): boolean {
    return this.#output.committed
  }

  get gone(): boolean {
    return this.#output.gone && !this.#recording.isDetached
  }

  get left(): boolean {
    return this.#output.left && !this.#recording.isDetached
  }

  get isForeign(): boolean {
    return this.#output.isForeign
  }

  get status(): number | undefined {
    return this.#output.status
  }

  get events(): number {
    return this.#output.events
  }

  get bytes(): number {
    return this.#output.bytes
  }

  get heartbeats(): number {
    return this.#output.heartbeats
  }

  get recording(): RecordingFacts {
    const { streamId, isComplete, isDetached } = this.#recording
    return { streamId, recorded: isComplete, detached: isDetached }
  }

  write(bytes: Uint8Array | string, events: number): Promise<void> | undefined {
    return this.#output.write(bytes, events)
  }

  /** Events that report a failure are not part of the recording: each reader makes its own of the end. */
  end(events: readonly SSEEvent[], failure?: EndedWith): void {
    if (failure) this.#recording.end(failure)
    this.#onceBegun(() => {
      this.#output.end(events, failure)
      if (!failure) this.#recording.complete()
    })
  }

  respond(reason: StreamError, message: string): void {
    const { outcome, code, status } = reason
    this.#recording.end({ outcome, code, message, status })
    if (!this.#recording.isDetached) this.#onceBegun(() => this.#output.respond(reason, message))
  }

  /** The end of a response takes its head along, held or not. */
  #onceBegun(end: () => void): void {
    const { hasBegun, begun } = this.#recording
    if (hasBegun) return end()
    this.#ending = begun
      .catch(() => {})
      .then(end)
      .catch((error) => this.#output.destroy(error))
  }

  destroy(reason: Error): void {
    this.#output.destroy(reason)
  }

  stop(reason: StreamError | undefined): void {
    this.#reason = reason
    this.#output.stop(reason)
  }

  async flushed(): Promise<'flushed' | 'stalled'> {
    const { outcome, code, message, status }: StoredEnd = this.#reason ?? completed
    await this.#ending
    this.#recording.end({ outcome, code, message, status })
    const flushed = await this.#output.flushed()
    await this.#recording.ended
    return flushed
  }
}
