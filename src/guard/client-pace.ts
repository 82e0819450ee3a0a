import type { ServerResponse } from 'node:http'
import { backlogOf } from '../client/response.js'
import { StreamError } from '../errors/stream-error.js'
import type { WatchedResponse } from './handle.js'

/** Whether a client keeps up with what its handler writes. */
export class ClientPace {
  readonly #response: ServerResponse
  readonly #guard: WatchedResponse
  /** How much the client has taken so far. */
  readonly #taken: () => number
  /** How much was buffered when the handler was first asked to wait. */
  #buffered: number | undefined

  constructor(guard: WatchedResponse, taken: () => number) {
    this.#response = guard.response
    this.#guard = guard
    this.#taken = taken
  }

  /**
   * A write was the last that the client had room for.
   *
   * @returns why the stream has to be cut: more and more is buffered for a client that does not read
   */
  fellBehind(): StreamError | undefined {
    const { settings, timeouts, isPaced } = this.#guard
    const hasBrake = this.#guard.calls?.pause() === true
    const buffered = backlogOf(this.#response)
    this.#buffered ??= buffered
    // One large write does no harm by itself. The writes after it do, from a handler that does not wait for its client.
    const isFlooded = buffered - this.#buffered > settings.writer.maxBufferedBytes
    if (isFlooded && !isPaced && !hasBrake) return new StreamError('client_stalled')
    if (timeouts.phase !== 'clientStall') timeouts.drainStarted(this.#taken)
    return undefined
  }

  caughtUp(): void {
    this.#buffered = undefined
    this.#guard.calls?.resume()
    this.#guard.timeouts.drainEnded()
  }
}
