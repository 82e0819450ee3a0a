import type { ServerResponse } from 'node:http'

/** A stream that is piped into a response. */
export type Source = NodeJS.ReadableStream & {
  destroyed?: boolean
  errored?: Error | null
  readableEnded?: boolean
  complete?: boolean
  socket?: { destroyed?: boolean } | null
  write?: unknown
  unpipe?(response?: ServerResponse): void
}

/**
 * A source broke, and the handler's own listeners have heard of it.
 *
 * @param error `undefined` if it was closed without a word
 * @param isHeard whether the handler listens for its errors, and may respond to them by itself
 */
export type OnBroken = (error: unknown, isHeard: boolean) => void

/**
 * A source that is piped into a response. If it breaks, only its own listeners hear of it, and `pipe` leaves the response
 * open for ever.
 */
export class PipedSource {
  readonly source: Source
  #isOver = false
  readonly #response: ServerResponse
  readonly #onBroken: OnBroken

  constructor(source: Source, response: ServerResponse, onBroken: OnBroken) {
    this.source = source
    this.#response = response
    this.#onBroken = onBroken
    source.on('end', this.#ended).on('error', this.#broke).on('close', this.#closed)
    response.on('unpipe', this.#unpiped)
  }

  /** Whether nothing more comes from it: `pipe` ends the response before other listeners hear of the end. */
  get isOver(): boolean {
    return this.#isOver || this.source.readableEnded === true
  }

  /** A request reports its reset before its response is destroyed, of which only the socket is gone by then. */
  get isBroken(): boolean {
    const { destroyed, complete, socket } = this.source
    return !this.isOver && (destroyed === true || (complete === false && socket?.destroyed === true))
  }

  /**
   * Takes the source off the response for good.
   *
   * @returns whether the response was all it was for: others may read it too, or it may be a place that events
   *   are written to for readers to come
   */
  detach(): boolean {
    const { source } = this
    this.#isOver = true
    this.#response.off('unpipe', this.#unpiped)
    source.off('end', this.#ended).off('close', this.#closed)
    source.unpipe?.(this.#response)
    const isRead = source.listenerCount('data') > 0 || source.listenerCount('readable') > 0
    const isHub = typeof source.write === 'function' && source.listenerCount('unpipe') === 0
    const isOurs = !isRead && !isHub
    // Its error when it is destroyed, by any code, must find a listener. One is enough, for as many responses as read it.
    if (!isOurs) {
      if (!source.listeners('error').includes(ignore)) source.on('error', ignore)
      source.off('error', this.#broke)
    }
    return isOurs
  }

  /** Stops watching, and leaves the source to the code that piped it. */
  forget(): void {
    this.#isOver = true
    this.#response.off('unpipe', this.#unpiped)
    const { source } = this
    source.off('end', this.#ended).off('close', this.#closed)
    // It may yet break, say because its client leaves: that error must find a listener, or it ends the process.
    const stop = () => void source.off('error', this.#broke)
    // Node says `closed` a turn before it emits the error.
    if ((source as { closed?: boolean }).closed) setImmediate(stop)
    else source.once('close', stop)
  }

  readonly #ended = (): void => {
    this.#isOver = true
    this.#response.off('unpipe', this.#unpiped)
  }

  readonly #unpiped = (source: Source): void => {
    if (source === this.source && !source.destroyed) this.#ended()
  }

  readonly #closed = (): void => this.#broke()

  readonly #broke = (error?: unknown): void => {
    if (this.#isOver) return
    setImmediate(() => {
      if (this.#isOver) return
      this.#isOver = true
      this.#onBroken(error, this.source.listenerCount('error') > 1)
    })
  }
}

function ignore(): void {}
