/** Node's own way with bytes, which is faster. Read once: as a global it is an accessor. A fetch handler may have none. */
const { Buffer: NodeBuffer } = globalThis as { Buffer?: typeof Buffer }

const encoder = new TextEncoder()
// A byte order mark is left to the reader of the text.
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
/** As many arguments as every engine takes for one call. */
const maxArguments = 8_192

/** The same memory as bytes; a text in UTF-8. */
export function asBytes(bytes: Uint8Array | string): Uint8Array {
  if (typeof bytes === 'string') return NodeBuffer ? NodeBuffer.from(bytes) : encoder.encode(bytes)
  if (!NodeBuffer || NodeBuffer.isBuffer(bytes)) return bytes
  return NodeBuffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/**
 * Bytes as text, one character for each byte. The framing of events and JSON is ASCII, and is found in this form as well as
 * in the decoded one. Nothing that is cut in the middle of a character can go wrong in it.
 */
export function toByteText(bytes: Uint8Array | string): string {
  const all = asBytes(bytes)
  if (NodeBuffer) return (all as Buffer).toString('latin1')
  let text = ''
  for (let at = 0; at < all.length; at += maxArguments)
    text += String.fromCharCode(...all.subarray(at, at + maxArguments))
  return text
}

/** A byte text, decoded as UTF-8. */
export function decodeByteText(text: string): string {
  if (NodeBuffer) return NodeBuffer.from(text, 'latin1').toString()
  return decoder.decode(Uint8Array.from(text, (character) => character.charCodeAt(0)))
}

/** A part of these bytes, decoded as UTF-8. */
export function decodeBytes(bytes: Uint8Array, start = 0, end = bytes.length): string {
  if (NodeBuffer) return (asBytes(bytes) as Buffer).toString('utf8', start, end)
  return decoder.decode(bytes.subarray(start, end))
}

/** How many bytes a text is in UTF-8. */
export function byteLength(text: Uint8Array | string): number {
  if (typeof text !== 'string') return text.byteLength
  return NodeBuffer ? NodeBuffer.byteLength(text) : encoder.encode(text).length
}

/** A copy of these bytes, which does not hold the memory that they came in. */
export function copyBytes(bytes: Uint8Array): Uint8Array {
  return NodeBuffer ? NodeBuffer.from(bytes) : bytes.slice()
}

/** All of them in one piece. */
export function joinBytes(pieces: readonly Uint8Array[]): Uint8Array {
  if (NodeBuffer) return NodeBuffer.concat(pieces)
  const all = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0))
  let at = 0
  for (const piece of pieces) {
    all.set(piece, at)
    at += piece.length
  }
  return all
}

/** The UTF-8 byte order mark, as a byte text. */
export const byteOrderMark = '\xef\xbb\xbf'

/** Whether such a mark stands there. */
export function isMarked(bytes: Uint8Array, at = 0): boolean {
  return bytes[at] === 0xef && bytes[at + 1] === 0xbb && bytes[at + 2] === 0xbf
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
