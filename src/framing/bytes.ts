// Imported: as a global, Buffer is an accessor, which V8 does not compile into what uses it on every chunk.
import { Buffer } from 'node:buffer'

/**
 * Bytes as text, one character for each byte. What frames events and JSON is ASCII and is found in this form as well as
 * in the decoded one. Nothing that is cut in the middle of a character can go wrong in it.
 */
export function toByteText(bytes: Uint8Array | string): string {
  return asBuffer(bytes).toString('latin1')
}

/** What a byte text says, decoded as UTF-8. */
export function decodeByteText(text: string): string {
  return Buffer.from(text, 'latin1').toString()
}

/** The same memory as a Buffer; a text in its encoding, UTF-8 if there is none. */
export function asBuffer(bytes: Uint8Array | string, encoding?: unknown): Buffer {
  if (typeof bytes === 'string') {
    return Buffer.from(bytes, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8')
  }
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** The UTF-8 byte order mark, as a byte text. */
export const byteOrderMark = '\xef\xbb\xbf'

/** Whether such a mark stands there. */
export function isMarked(bytes: Buffer, at = 0): boolean {
  return bytes.toString('latin1', at, at + byteOrderMark.length) === byteOrderMark
}

const highSurrogateAtEnd = /[\ud800-\udbff]$/

/** Texts that may be cut between the two halves of a character: bytes cannot be made of one half. */
export class WholeCharacters {
  #half = ''

  /** @returns the text, without the half of a character at its end, which comes with the next one */
  whole(text: string): string {
    const all = this.#half + text
    this.#half = highSurrogateAtEnd.exec(all)?.[0] ?? ''
    return this.#half === '' ? all : all.slice(0, -1)
  }
}
