// Imported: as a global, Buffer is an accessor, and this runs for each event.
import { Buffer } from 'node:buffer'
import type { ServerResponse } from 'node:http'
import process from 'node:process'
import { writable } from './response.js'

const maxPiece = 64 * 1024

/**
 * The text that waits to be written to a response. It is written in pieces, because Node does not tell how
 * much of one large write the client has read.
 */
export class OutgoingText {
  /** Bytes that have been handed to the response. */
  bytes = 0
  #pending = ''
  readonly #response: ServerResponse
  readonly #turnEnded: () => void
  #isScheduled = false

  /** @param turnEnded called when all that was added `inTurn` is together */
  constructor(response: ServerResponse, turnEnded: () => void) {
    this.#response = response
    this.#turnEnded = turnEnded
  }

  /** How much waits, in characters. */
  get pending(): number {
    return this.#pending.length
  }

  add(text: string): void {
    this.#pending += text
  }

  /** The texts of one turn are sent together. */
  addInTurn(text: string): void {
    this.#pending += text
    if (this.#isScheduled) return
    this.#isScheduled = true
    process.nextTick(OutgoingText.#turnOver, this)
  }

  static #turnOver(text: OutgoingText): void {
    text.#isScheduled = false
    text.#turnEnded()
  }

  drop(): void {
    this.#pending = ''
  }

  /**
   * Hands the waiting text to the response.
   *
   * @param isLast whether the response ends with it
   * @returns whether the client keeps up
   */
  send(isLast: boolean): boolean {
    let more = true
    while (more && this.#pending.length > maxPiece) {
      // Not between the halves of a surrogate pair.
      const code = this.#pending.charCodeAt(maxPiece - 1)
      more = this.#write(this.#take(code >= 0xd800 && code < 0xdc00 ? maxPiece - 1 : maxPiece))
    }
    if (!more) return false
    const rest = this.#take()
    if (isLast) {
      this.bytes += Buffer.byteLength(rest)
      this.#response.end(writable(this.#response, rest))
    } else if (rest !== '') more = this.#write(rest)
    this.#letGo()
    return more
  }

  /** Bytes go out at once, after all text that was written before, whether or not the client has caught up. */
  sendBytes(bytes: Uint8Array): boolean {
    if (this.#pending !== '') this.#write(this.#take())
    this.bytes += bytes.length
    let more = true
    if (bytes.length <= maxPiece) more = this.#response.write(bytes)
    else
      for (let at = 0; at < bytes.length; at += maxPiece)
        more = this.#response.write(bytes.subarray(at, at + maxPiece))
    this.#letGo()
    return more
  }

  #write(text: string): boolean {
    const length = Buffer.byteLength(text)
    this.bytes += length
    // Node would measure a text again before it encodes it: ASCII needs neither, anything else is encoded here, once.
    if (length > text.length) return this.#response.write(Buffer.from(text))
    return this.#response.write(writable(this.#response, text), 'latin1')
  }

  /** The response of `compression()` holds text back until its `flush` is called. */
  #letGo(): void {
    const { flush } = this.#response as { flush?: unknown }
    if (typeof flush === 'function') flush.call(this.#response)
  }

  #take(length = this.#pending.length): string {
    const text = this.#pending.slice(0, length)
    this.#pending = this.#pending.slice(length)
    return text
  }
}
