import type { ServerResponse } from 'node:http'
import type { StreamError } from '../errors/stream-error.js'
import type { StreamOptions } from '../stream/settings.js'
import { Upstreams } from '../upstream/opened.js'
import { adoptFeeders, type OnBroken, PipedSource, type Source } from './piped-source.js'

/** What a handler pipes into its response: watched while the response lives, and let go with it. */
export class GuardedSources {
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
