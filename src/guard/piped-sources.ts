import type { ServerResponse } from 'node:http'
import type { StreamError } from '../errors/stream-error.js'
import type { StreamOptions } from '../stream/settings.js'
import { systemClock } from '../timeouts/clock.js'
import { Upstreams } from '../upstream/opened.js'

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

/** A stream that somebody pipes into a response. */
export type Source = NodeJS.ReadableStream & {
  destroyed?: boolean
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
 * @param isHeard whether the handler listens for its errors, and may answer them by itself
 */
export type OnBroken = (error: unknown, isHeard: boolean) => void

/**
 * A source that is piped into a response. One that breaks tells nobody but itself, and `pipe` leaves the
 * response open for ever.
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

  /** Whether nothing more comes from it: `pipe` ends the response before anybody else hears of the end. */
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
   *   are written to for whoever comes
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
    // What it says when it is destroyed must find a listener.
    if (!isOurs) source.off('error', this.#broke)
    return isOurs
  }

  /** Stops watching, and leaves the source to whoever piped it. */
  forget(): void {
    this.#isOver = true
    this.#response.off('unpipe', this.#unpiped)
    const { source } = this
    source.off('end', this.#ended).off('close', this.#closed)
    // It may yet break, say because its client leaves: what it says then must find a listener, or ends the process.
    const stop = () => void source.off('error', this.#broke)
    if ((source as { closed?: boolean }).closed) stop()
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

/** What is piped into a transform is let go when that is destroyed, and is then nobody's. */
function adoptFeeders(source: Source, adopt: (feeder: Source) => void): void {
  if (typeof source.write !== 'function') return
  source.on('unpipe', (feeder: Source) => {
    if (feeder.listenerCount('data') > 0) return
    adoptFeeders(feeder, adopt)
    adopt(feeder)
  })
}
