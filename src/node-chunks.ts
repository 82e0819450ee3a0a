import type { Readable } from 'node:stream'
import { asBuffer } from './byte-text.js'
import type { ChunkReading, ChunkTaker } from './chunk-taker.js'
import { systemClock } from './clock.js'
import { toStreamError } from './error-causes.js'
import { StreamError } from './errors.js'
import { WholeCharacters } from './whole-characters.js'

/** Chunks that are as close as this were probably read from the socket at once. */
const sameReadMs = 1

/**
 * Chunks that come alone are taken as they come; those that come together are joined, and taken at the end of their
 * turn. No promise for each chunk: at the pace of tokens every one of them would be felt.
 */
export class NodeChunks implements ChunkReading {
  readonly taken: Promise<void>
  readonly #stream: Readable
  readonly #signal: AbortSignal | undefined
  readonly #taker: ChunkTaker
  readonly #strings = new WholeCharacters()
  /** What has come and was not taken yet. */
  #kept: Uint8Array[] = []
  #cameAt = Number.NEGATIVE_INFINITY
  /** Whether the last ones came together. */
  #comeTogether = false
  #failure: { error: unknown } | undefined
  #ended: boolean
  #isReading = false
  #isWaiting = false
  #isOver = false
  #resolve: () => void = () => {}
  #reject: (error: unknown) => void = () => {}

  constructor(stream: Readable, signal: AbortSignal | undefined, taker: ChunkTaker) {
    this.#stream = stream
    this.#signal = signal
    this.#taker = taker
    this.#ended = stream.readableEnded
    this.taken = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    // Of a reset or a garbled answer it is the request that says what happened; the answer is only "aborted".
    const { req: request } = stream as { req?: Partial<Readable> }
    if (typeof request?.on === 'function') request.on('error', this.#broke)
    stream.on('data', this.#came).on('end', this.#end).on('error', this.#broke).on('close', this.#closed)
    signal?.addEventListener('abort', this)
    if (signal?.aborted) this.handleEvent()
    else if (stream.errored) this.#broke(stream.errored)
    else if (stream.destroyed) this.#closed()
    else this.#goOn()
  }

  readonly #came = (chunk: Uint8Array | string): void => {
    if (this.#isReading || this.#isOver) return
    if (this.#isWaiting) {
      this.#kept.push(this.#whole(chunk))
      this.#comeTogether = true
      this.#stream.pause()
      return
    }
    if (this.#comesAlone()) this.#take(this.#whole(chunk))
    else if (this.#kept.push(this.#whole(chunk)) === 1) process.nextTick(NodeChunks.#turnEnds, this)
  }

  #comesAlone(): boolean {
    if (this.#comeTogether || this.#kept.length > 0) return false
    const before = this.#cameAt
    this.#cameAt = systemClock.now()
    return this.#cameAt - before >= sameReadMs
  }

  static #turnEnds(chunks: NodeChunks): void {
    chunks.#comeTogether = chunks.#kept.length > 1
    if (!chunks.#isWaiting) chunks.#takeKept()
  }

  #whole(chunk: Uint8Array | string): Uint8Array {
    return typeof chunk === 'string' ? asBuffer(this.#strings.whole(chunk)) : chunk
  }

  #takeKept(): void {
    const kept = this.#kept
    if (kept.length === 0) return
    this.#kept = []
    this.#take(kept.length === 1 ? (kept[0] as Uint8Array) : Buffer.concat(kept))
  }

  #take(chunk: Uint8Array): void {
    if (this.#isOver) return
    try {
      const wait = this.#taker.take(chunk)
      if (wait === undefined || this.#isOver) return
      if (wait === false) this.#finish()
      else if (wait === 'pause') this.#isWaiting = true
      else this.#wait(wait)
    } catch (error) {
      this.#finish({ error })
    }
  }

  /** Takes what has come meanwhile, and lets more come. */
  #goOn(): void {
    this.#takeKept()
    const stream = this.#stream
    while (!this.#isWaiting && !this.#isOver) {
      // Paused, or broken: what waits in it comes joined, and not by itself.
      this.#isReading = true
      const chunk: Uint8Array | string | null = stream.read()
      this.#isReading = false
      if (chunk === null) break
      this.#take(this.#whole(chunk))
    }
    if (this.#isWaiting || this.#isOver) return
    if (this.#failure) this.#finish({ error: toStreamError(this.#failure.error, 'upstream_hangup') })
    else if (this.#ended) this.#finish()
    else stream.resume()
  }

  resume(): void {
    if (!this.#isWaiting) return
    this.#isWaiting = false
    const isFlowing = this.#stream.readableFlowing === true
    if (!isFlowing || this.#kept.length > 0 || this.#ended || this.#failure) this.#goOn()
  }

  stop(): undefined {
    this.#finish()
  }

  #wait(wait: Promise<unknown>): void {
    this.#isWaiting = true
    this.#stream.pause()
    wait.then(
      (more) => {
        this.#isWaiting = false
        if (more === false) this.#finish()
        else this.#goOn()
      },
      (error) => this.#finish({ error }),
    )
  }

  /** The signal has aborted. */
  handleEvent(): void {
    this.#finish({ error: this.#signal?.reason })
  }

  readonly #end = (): void => {
    this.#ended = true
    if (!this.#isWaiting) this.#goOn()
  }

  readonly #broke = (error: unknown): void => {
    this.#failure ??= { error }
    if (!this.#isWaiting) this.#goOn()
  }

  readonly #closed = (): void => {
    if (!this.#ended) this.#failure ??= { error: new StreamError('upstream_hangup') }
    if (!this.#isWaiting) this.#goOn()
  }

  #finish(failure?: { error: unknown }): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#signal?.removeEventListener('abort', this)
    this.#stream.off('data', this.#came).off('end', this.#end).off('close', this.#closed)
    // Without a listener what flows is lost; whoever releases it lets it flow again.
    if (!this.#ended) this.#stream.pause()
    // The listener of errors stays: one that comes later, say of our own destroy(), must find it.
    if (failure) this.#reject(failure.error)
    else this.#resolve()
  }
}
