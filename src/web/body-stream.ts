import { CatchingUp } from '../client/catching-up.js'
import { joinBytes } from '../framing/bytes.js'
import { systemClock } from '../timeouts/clock.js'

/**
 * A server that learns at once that a body breaks drops the bytes that it has just got. Hono's server for Node writes nothing
 * for a millisecond, and then 500 instead.
 */
const breakAfterMs = 10

/** Told how the client of a body keeps up. */
export interface BodyObserver {
  /** Bytes wait for the client. */
  onBehind(): void
  /** The client has taken them. */
  onCaughtUp(): void
  /** The client has left. */
  onCancel(reason: unknown): void
}

/**
 * The body of a response. Bytes are handed over when they are pulled, and what comes meanwhile waits here: so it is known
 * what the client has taken, which the queue of a stream does not tell.
 */
export class BodyStream {
  readonly readable: ReadableStream<Uint8Array>
  /** How many bytes have been pulled. */
  taken = 0
  /** Whether nothing can be written any more. */
  isOver = false
  /** Settles when the client has all of it, or never will have. */
  readonly done: Promise<void>
  readonly #observer: BodyObserver
  readonly #catchingUp = new CatchingUp()
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined
  #waiting: Uint8Array[] = []
  /** Set while the client waits for bytes. */
  #pulled: (() => void) | undefined
  #isDone = false
  #breakBy: Error | undefined
  #resolveDone: () => void = () => {}

  constructor(observer: BodyObserver) {
    this.#observer = observer
    this.done = new Promise((resolve) => {
      this.#resolveDone = resolve
    })
    const start = (controller: ReadableStreamDefaultController<Uint8Array>) => {
      this.#controller = controller
    }
    // Nothing is asked for before the client does so itself.
    this.readable = new ReadableStream(
      { start, pull: () => this.#pull(), cancel: (reason) => this.#cancel(reason) },
      { highWaterMark: 0 },
    )
  }

  /** @returns what to wait for before the next bytes */
  write(bytes: Uint8Array): Promise<void> | undefined {
    if (this.isOver || bytes.length === 0) return this.#catchingUp.promise
    this.#waiting.push(bytes)
    if (this.#flow() || this.#catchingUp.promise) return this.#catchingUp.promise
    this.#observer.onBehind()
    return this.#catchingUp.start()
  }

  /** Ends the body with these bytes, in one piece with whatever waits. */
  end(bytes: Uint8Array): void {
    if (this.isOver) return
    this.isOver = true
    if (bytes.length > 0) this.#waiting.push(bytes)
    this.#flow()
  }

  /**
   * Breaks the body off behind what waits, when it is asked for more: its server then cuts the connection. Of a body that
   * fails before, Hono's server writes the error, and ends the response as if that were all.
   */
  breakOff(reason: Error): void {
    this.isOver = true
    this.#breakBy = reason
    if (this.#pulled) this.#finish()
  }

  /** Breaks the body off now. */
  destroy(reason: Error): void {
    if (!this.#isDone) this.#close(() => this.#controller?.error(reason))
  }

  /** The client has left: no client takes the bytes that wait. */
  release(): void {
    if (!this.#isDone) this.#close(() => this.#controller?.close())
  }

  #pull(): Promise<void> {
    const pulled = new Promise<void>((resolve) => {
      this.#pulled = resolve
    })
    if (this.#catchingUp.promise) this.#observer.onCaughtUp()
    this.#flow()
    this.#catchingUp.end()
    return pulled
  }

  /** @returns whether nothing waits any more */
  #flow(): boolean {
    const isEmpty = this.#waiting.length === 0
    const pulled = this.#pulled
    if (pulled && !isEmpty) {
      const [first, ...more] = this.#waiting as [Uint8Array, ...Uint8Array[]]
      const bytes = more.length === 0 ? first : joinBytes(this.#waiting)
      this.#waiting = []
      this.#pulled = undefined
      this.taken += bytes.length
      this.#controller?.enqueue(bytes)
      pulled()
    }
    if (this.#waiting.length > 0) return false
    if (this.isOver && (this.#pulled || !this.#breakBy)) this.#finish()
    return true
  }

  #finish(): void {
    const reason = this.#breakBy
    if (reason) systemClock.setTimeout(() => this.destroy(reason), breakAfterMs)
    else if (!this.#isDone) this.#close(() => this.#controller?.close())
  }

  #cancel(reason: unknown): void {
    if (this.#isDone) return
    this.#close(() => {})
    this.#observer.onCancel(reason)
  }

  #close(close: () => void): void {
    this.isOver = this.#isDone = true
    this.#waiting = []
    close()
    this.#pulled?.()
    this.#pulled = undefined
    this.#catchingUp.end()
    this.#resolveDone()
  }
}
