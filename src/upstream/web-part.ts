import { type CleanupPart, maxTail } from './cleanup-part.js'
import { cancelHeld, heldReader, holdReader, releaseReader } from './web-chunks.js'

/** The body of a Fetch response. */
export class WebPart implements CleanupPart {
  readonly #stream: ReadableStream<Uint8Array>
  closed = false

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#stream = stream
  }

  async finish(): Promise<void> {
    // A handler's own loop may still hold it: the rest that it does not read is read beside it.
    const holding = heldReader(this.#stream)
    const reader = holding ?? holdReader(this.#stream)
    try {
      for (let read = 0; read <= maxTail; ) {
        const { done, value } = await reader.read()
        if (done) {
          this.closed = true
          return
        }
        read += value.length
      }
      throw new Error(`more than ${maxTail} bytes were left`)
    } finally {
      if (!holding) releaseReader(this.#stream)
    }
  }

  /** Where other code holds the lock, only that code, or the signal of the request, can end the stream. */
  async stop(reason: Error | undefined): Promise<'cancel' | 'unreachable'> {
    if (this.closed) return 'cancel'
    const cancelled = cancelHeld(this.#stream, reason)
    if (!cancelled) return 'unreachable'
    // A stream that has failed rejects with its failure: it is gone all the same.
    await cancelled.catch(() => {})
    this.closed = true
    return 'cancel'
  }
}
