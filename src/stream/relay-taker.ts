import type { TakenChunk } from '../upstream/chunk-sink.js'
import { EventStreamTaker } from '../upstream/take-event-stream.js'
import type { RelaySink } from './relay-target.js'

/** Takes the chunks of an upstream's event stream on their way to a client. */
export abstract class RelayTaker extends EventStreamTaker {
  /** Events that came. */
  received = 0
  protected readonly sink: RelaySink

  constructor(sink: RelaySink, maxEventBytes: number | undefined) {
    super(maxEventBytes)
    this.sink = sink
  }

  touch(chunk: Uint8Array | string): void {
    this.sink.touch(chunk)
  }

  /** After the last event there is nothing to wait for, unless it was refused. */
  protected last(ready: Promise<void> | undefined): TakenChunk {
    return ready ? ready.then(() => false) : false
  }

  /**
   * Call when all has come.
   *
   * @returns what to wait for
   * @throws what is wrong with the end
   */
  abstract finish(): Promise<void> | undefined
}
