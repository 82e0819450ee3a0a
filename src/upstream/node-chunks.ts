import type { Readable } from 'node:stream'
import { toStreamError } from '../errors/classify.js'
import { StreamError } from '../errors/stream-error.js'
import { joinBytes, WholeCharacters } from '../framing/bytes.js'
import type { AbortSignalLike } from '../timeouts/stop-signal.js'

/** The promise to wait for before the next one, be it for `resume`; `false`, also in the end, for no more. */
export type Backpressure = Promise<unknown> | undefined | false | 'pause'

/** An object rather than a function: at the pace of tokens each closure of a stream is one more place in memory. */
export interface ChunkSink {
  take(chunk: Uint8Array | string): Backpressure
}

export interface ChunkReading {
  /** Settles when all chunks have been taken. */
  readonly taken: Promise<void>
  /** Goes on after a pause. */
  resume(): void
  /** Takes no more. @returns when nothing of it is held any longer, unless a read is under way */
  stop(): Promise<unknown> | undefined
}

const maxJoin = 64 * 1024

/**
 * Paused mode: chunks that have come are joined, and not reading is all the backpressure there is. No promise for each
 * chunk: at the pace of tokens every one of them would be felt.
 */
export class NodeChunks implements ChunkReading {
  readonly taken: Promise<void>
  readonly #stream: Readable
  readonly #signal: AbortSignalLike | undefined
  readonly #sink: ChunkSink
  readonly #strings = new WholeCharacters()
  #failure: { error: unknown } | undefined
  #ended: boolean
  #isWaiting = false
  #isOver = false
  #resolve: () => void = () => {}
  #reject: (error: unknown) => void = () => {}

  constructor(stream: Readable, signal: AbortSignalLike | undefined, sink: ChunkSink) {
    this.#stream = stream
    this.#signal = signal
    this.#sink = sink
    this.#ended = stream.readableEnded
    this.taken = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    // After a reset or a garbled response the request has the reason; the response is only "aborted".
    const { req: request } = stream as { req?: Partial<Readable> }
    if (typeof request?.on === 'function') request.on('error', this.#broke)
    stream.on('readable', this.#read).on('end', this.#end).on('error', this.#broke).on('close', this.#closed)
    signal?.addEventListener('abort', this)
    if (signal?.aborted) this.handleEvent()
    else if (stream.errored) this.#broke(stream.errored)
    else if (stream.destroyed) this.#closed()
    else this.#read()
  }

  readonly #read = (): void => {
    if (this.#isOver || this.#isWaiting) return
    try {
      for (;;) {
        const chunk = this.#next()
        if (chunk === null) break
        const wait = this.#sink.take(typeof chunk === 'string' ? this.#strings.whole(chunk) : chunk)
        if (this.#isOver) return abandon(wait)
        if (wait === false) return this.#finish()
        if (wait === 'pause') {
          this.#isWaiting = true
          return
        }
        if (wait) return this.#wait(wait)
      }
    } catch (error) {
      return this.#finish({ error })
    }
    if (this.#failure) this.#finish({ error: toStreamError(this.#failure.error, 'upstream_hangup') })
    else if (this.#ended) this.#finish()
  }

  /** The bytes that have come, joined: from version 26 on Node hands them out piece by piece. */
  #next(): Uint8Array | string | null {
    const stream = this.#stream
    const first: Uint8Array | string | null = stream.read()
    // Streams of older packages do not say whether theirs are objects.
    const mayJoin =
      first instanceof Uint8Array && stream.readableLength > 0 && stream.readableObjectMode === false
    if (!mayJoin || first.length >= maxJoin) return first
    const pieces = [first]
    for (let bytes = first.length; bytes < maxJoin && stream.readableLength > 0; ) {
      const piece: Uint8Array | null = stream.read()
      if (piece === null) break
      pieces.push(piece)
      bytes += piece.length
    }
    return joinBytes(pieces)
  }

  resume(): void {
    if (!this.#isWaiting) return
    this.#isWaiting = false
    // A stream that was not read until it had nothing may fall silent.
    this.#read()
  }

  stop(): undefined {
    this.#finish()
  }

  #wait(wait: Promise<unknown>): void {
    this.#isWaiting = true
    wait.then(
      (more) => (more === false ? this.#finish() : this.resume()),
      (error) => this.#finish({ error }),
    )
  }

  /** The signal has aborted. */
  handleEvent(): void {
    this.#finish({ error: this.#signal?.reason })
  }

  readonly #end = (): void => {
    this.#ended = true
    this.#read()
  }

  readonly #broke = (error: unknown): void => {
    this.#failure ??= { error }
    this.#read()
  }

  readonly #closed = (): void => {
    if (!this.#ended) this.#failure ??= { error: new StreamError('upstream_hangup') }
    this.#read()
  }

  #finish(failure?: { error: unknown }): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#signal?.removeEventListener('abort', this)
    this.#stream.off('readable', this.#read).off('end', this.#end).off('close', this.#closed)
    // The listener of errors stays: one that comes later, say of our own destroy(), must find it.
    if (failure) this.#reject(failure.error)
    else this.#resolve()
  }
}

/** No caller waits for it any more, and it may be refused. */
function abandon(wait: Backpressure): void {
  if (wait instanceof Promise) wait.catch(() => {})
}
