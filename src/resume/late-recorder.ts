import { log } from '../diagnostics/channels.js'
import { describeError } from '../diagnostics/describe-error.js'
import type { Recorder, StoredEnd } from './resume-store.js'

const unrecorded: StoredEnd = {
  outcome: 'aborted',
  code: 'resume_gap',
  message: 'The rest of the answer was not recorded.',
}

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
    if (this.#recorder) return this.#recorder.append(events, count)
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
    if (!this.#isLost) for (const { events, count } of this.#pending) recorder.append(events, count)
    else
      void recorder.end({ outcome: 'aborted', code: 'resume_gap', message: 'The answer was not recorded.' })
    this.#pending = []
  }

  /** Events that come from here on are not recorded. */
  giveUp(): void {
    this.#lose()
    void this.#recorder?.end(unrecorded)
  }

  #lose(): void {
    this.#isLost = true
    this.#pending = []
  }
}
