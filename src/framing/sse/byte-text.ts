// Buffer and process are imported where each event passes: as globals they are accessors, which V8 does not compile into
// what uses them.
import { Buffer } from 'node:buffer'

/**
 * Bytes as text, one character for each. What frames events and JSON is ASCII, and found as well in this form as
 * decoded; nothing that is cut can go wrong in it, and no script costs more than another.
 */
export function toByteText(bytes: Uint8Array | string): string {
  return asBuffer(bytes).toString('latin1')
}

/** As bytes, and as character codes of a text. */
export const lineFeed = 10
export const carriageReturn = 13

/** Its bytes, as text. */
export const byteOrderMark = '\xef\xbb\xbf'

/** What the bytes say, as UTF-8. */
export function decodeByteText(text: string): string {
  return Buffer.from(text, 'latin1').toString()
}

export function asBuffer(bytes: Uint8Array | string): Buffer {
  if (typeof bytes === 'string') return Buffer.from(bytes)
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
