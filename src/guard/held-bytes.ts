import { Buffer } from 'node:buffer'

/** Bytes that a handler has written, on their way to the client: some wait until the event is whole that they begin. */
export class HeldBytes {
  /** How many of all bytes have been passed on. */
  sent = 0
  #held: Buffer[] = []

  get hasBytes(): boolean {
    return this.#held.length > 0
  }

  /**
   * @param until how many of all bytes may be passed on by now
   * @returns those of them that have not been
   */
  pass(bytes: Buffer, until: number): Buffer {
    const pending = this.hasBytes ? Buffer.concat([...this.#held, bytes]) : bytes
    const length = until - this.sent
    this.sent = until
    if (length === pending.length) {
      this.#held = []
      return pending
    }
    // A copy: the app may use its buffer again.
    this.#held = [Buffer.from(pending.subarray(length))]
    return pending.subarray(0, length)
  }
}
