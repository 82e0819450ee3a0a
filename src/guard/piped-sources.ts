import { toStreamError } from '../errors/classify.js'
import { StreamError } from '../errors/stream-error.js'
import type { Exchange } from '../stream/exchange.js'
import { systemClock } from '../timeouts/clock.js'
import { Upstreams } from '../upstream/opened.js'
import type { GuardOutput } from './event-output.js'
import type { WatchedResponse } from './handle.js'
import { PipedSource, type Source } from './piped-source.js'

/** How long a handler that has heard of its source's end may take to find another. */
const fallbackMs = 1_000

/** A response that sources are piped into. */
interface SourcedResponse extends WatchedResponse {
  /** Once it is known that there is a stream. */
  readonly output: GuardOutput | undefined
  readonly exchange: Exchange | undefined
}

/** The sources that a handler pipes into its response: watched while the response lives, and let go with it. */
export class PipedSources {
  readonly #guard: SourcedResponse
  #sources: PipedSource[] = []
  #upstreams: Upstreams | undefined
  /** Set once the response is over: a source that is piped later is let go at once. */
  #released: { reason: StreamError | undefined } | undefined

  constructor(guard: SourcedResponse) {
    this.#guard = guard
  }

  /** Whether one is being piped that has not ended. */
  get arePiping(): boolean {
    return this.#sources.some(({ isOver }) => !isOver)
  }

  /** Whether one of those has broken, even if that has not been heard yet. */
  get areBroken(): boolean {
    return this.#sources.some(({ isBroken }) => isBroken)
  }

  /** Why, if the source says so. */
  get error(): Error | undefined {
    return this.#sources.find(({ isBroken }) => isBroken)?.source.errored ?? undefined
  }

  /** Lets them go with the response, for `reason`, unless they are there for others as well. */
  release(reason?: StreamError): void {
    this.#released ??= { reason }
    for (const source of this.#sources) this.#detach(source)
    this.#sources = []
    this.#upstreams?.release(reason)
  }

  /** Leaves them to the code that piped them. */
  forget(): void {
    for (const source of this.#sources) source.forget()
    this.#sources = []
  }

  add(source: Source): void {
    // A source that is piped after a failure still has to be let go.
    if (this.#released && !this.#released.reason) return
    const piped = new PipedSource(source, this.#guard.response, this.#broke)
    if (this.#released) this.#detach(piped)
    else this.#sources.push(piped)
  }

  readonly #broke = (error: unknown, isHeard: boolean): void => {
    const guard = this.#guard
    if (!guard.isOpen) return
    if (guard.state === 'passing') {
      // A body that is not an event stream can only be cut: it must not look complete.
      if (error !== undefined && !isHeard) guard.own.destroy(toStreamError(error, 'upstream_hangup'))
      return
    }
    if (guard.output?.sawTerminal) return guard.exchange?.complete()
    const fail = () => guard.fail(error ?? new StreamError('upstream_hangup'))
    if (!isHeard) return fail()
    if (guard.state === 'waiting') return
    // An app that listens to its source's errors may have another source, or a response of its own.
    const before = guard.output?.bytes
    systemClock.setTimeout(() => {
      if (!this.arePiping && guard.output?.bytes === before && guard.state === 'streaming') fail()
    }, fallbackMs)
  }

  #detach(piped: PipedSource): void {
    if (!piped.detach()) return
    adoptFeeders(piped.source, (feeder) => this.#adopt(feeder))
    this.#adopt(piped.source)
  }

  #adopt(source: Source): void {
    if (!this.#upstreams) {
      this.#upstreams = new Upstreams(this.#guard.settings.cleanup, this.#guard.subject.requestId)
      if (this.#released) this.#upstreams.release(this.#released.reason)
    }
    this.#upstreams.adopt(source)
  }
}

/** A source that is piped into a transform is let go when the transform is destroyed, and then has no owner. */
function adoptFeeders(source: Source, adopt: (feeder: Source) => void): void {
  if (typeof source.write !== 'function') return
  source.on('unpipe', (feeder: Source) => {
    if (feeder.listenerCount('data') > 0) return
    adoptFeeders(feeder, adopt)
    adopt(feeder)
  })
}
