import { log } from '../diagnostics/channels.js'
import { describeError } from '../diagnostics/describe-error.js'
import type { Recorder, StoredEnd } from './resume-store.js'

const unrecorded: StoredEnd = {
  outcome: 'aborted',
  code: 'resume_gap',
  message: 'The rest of the answer was not recorded.',
}

const neverRecorded: StoredEnd = { ...unrecorded, message: 'The answer was not recorded.' }

/** The most that waits for a store that takes its time to begin. */
const maxPendingBytes = 1024 * 1024

/** The recorder of a stream that does not wait for its store: what comes before that is ready is kept here. */
export class LateRecorder implements Recorder {
  #recorder: Recorder | undefined
  #pending: { events: string; count: number }[] = []
  #pendingBytes = 0
  #isLost = false
  readonly #ready: Promise<void>

  constructor(recorder: Promise<Recorder>) {
    this.#ready = recorder.then(
      (ready) => this.#begin(ready),
      (error) => {
        log.stream('a stream is not recorded: %s', () => describeError(error))
        this.#lose()
      },
    )
  }

  get complete(): boolean {
    return !this.#isLost && (this.#recorder?.complete ?? true)
  }

  get followers(): number {
    return this.#recorder?.followers ?? 0
  }

  append(events: string, count: number): void {
    if (this.#isLost) return
    if (this.#recorder) return this.#appendTo(this.#recorder, events, count)
    this.#pending.push({ events, count })
    this.#pendingBytes += Buffer.byteLength(events)
    if (this.#pendingBytes > maxPendingBytes) this.#lose()
  }

  async end(how: StoredEnd): Promise<void> {
    await this.#ready
    await this.#recorder?.end(how)
  }

  #begin(recorder: Recorder): void {
    this.#recorder = recorder
    // Without its beginning the rest would be counted wrongly.
    if (this.#isLost) void this.#endAs(recorder, neverRecorded)
    const pending = this.#pending
    this.#pending = []
    for (const { events, count } of pending) this.append(events, count)
  }

  /** Events that come from here on are not recorded. */
  giveUp(): void {
    this.#lose()
    if (this.#recorder) void this.#endAs(this.#recorder, unrecorded)
  }

  /** A store may be the app's own. Its errors must not fail the stream. */
  #appendTo(recorder: Recorder, events: string, count: number): void {
    try {
      recorder.append(events, count)
    } catch (error) {
      log.stream('a stream is no longer recorded: %s', () => describeError(error))
      this.giveUp()
    }
  }

  async #endAs(recorder: Recorder, how: StoredEnd): Promise<void> {
    try {
      await recorder.end(how)
    } catch (error) {
      log.stream('the end of a stream is not recorded: %s', () => describeError(error))
    }
  }

  #lose(): void {
    this.#isLost = true
    this.#pending = []
  }
}
