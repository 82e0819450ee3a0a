import type { ServerResponse } from 'node:http'
import type { StreamError } from '../errors/stream-error.js'
import type { StreamOptions } from '../stream/settings.js'
import { systemClock } from '../timeouts/clock.js'
import { Upstreams } from '../upstream/opened.js'
import { type OnBroken, PipedSource, type Source } from './piped-source.js'

/** How long a handler that has heard of its source's end may take to find another. */
const fallbackMs = 1_000

/** What a handler pipes into its response: watched while the response lives, and let go with it. */
export class PipedSources {
  readonly #response: ServerResponse
  readonly #requestId: () => string
  readonly #cleanup: StreamOptions['cleanup']
  readonly #onBroken: OnBroken
  #sources: Set<PipedSource> | undefined
  #upstreams: Upstreams | undefined
  /** Set once the response is over: what is piped later is let go at once. */
  #released: { reason: StreamError | undefined } | undefined

  constructor(
    response: ServerResponse,
    requestId: () => string,
    cleanup: StreamOptions['cleanup'],
    onBroken: OnBroken,
  ) {
    this.#response = response
    this.#requestId = requestId
    this.#cleanup = cleanup
    this.#onBroken = onBroken
  }

  /** Whether one is being piped that has not ended. */
  get arePiping(): boolean {
    return [...(this.#sources ?? [])].some(({ isOver }) => !isOver)
  }

  /** Whether one of those has broken, be it that nobody has heard of it yet. */
  get areBroken(): boolean {
    return [...(this.#sources ?? [])].some(({ isBroken }) => isBroken)
  }

  /**
   * An app that listens to its source's errors may have another source, or a response of its own: calls back if by then
   * it has neither.
   *
   * @param progress how much the handler has written so far
   */
  unlessReplaced(progress: () => number | undefined, callback: () => void): void {
    const before = progress()
    systemClock.setTimeout(() => {
      if (!this.arePiping && progress() === before) callback()
    }, fallbackMs)
  }

  /** Lets them go with the response, for `reason`, unless they are there for others as well. */
  release(reason?: StreamError): void {
    this.#released ??= { reason }
    for (const source of this.#sources ?? []) this.#detach(source)
    this.#sources = undefined
    this.#upstreams?.release(reason)
  }

  /** Leaves them to whoever piped them. */
  forget(): void {
    for (const source of this.#sources ?? []) source.forget()
    this.#sources = undefined
  }

  add(source: Source): void {
    // What is piped after a failure still has to be let go.
    if (this.#released && !this.#released.reason) return
    const piped = new PipedSource(source, this.#response, this.#onBroken)
    if (this.#released) this.#detach(piped)
    else {
      this.#sources ??= new Set()
      this.#sources.add(piped)
    }
  }

  #detach(piped: PipedSource): void {
    if (!piped.detach()) return
    adoptFeeders(piped.source, (feeder) => this.#adopt(feeder))
    this.#adopt(piped.source)
  }

  #adopt(source: Source): void {
    if (!this.#upstreams) {
      this.#upstreams = new Upstreams(this.#cleanup, this.#requestId())
      if (this.#released) this.#upstreams.release(this.#released.reason)
    }
    this.#upstreams.adopt(source)
  }
}

/** What is piped into a transform is let go when that is destroyed, and is then nobody's. */
function adoptFeeders(source: Source, adopt: (feeder: Source) => void): void {
  if (typeof source.write !== 'function') return
  source.on('unpipe', (feeder: Source) => {
    if (feeder.listenerCount('data') > 0) return
    adoptFeeders(feeder, adopt)
    adopt(feeder)
  })
}
