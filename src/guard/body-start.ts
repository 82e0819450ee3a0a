import { byteOrderMark } from '../framing/bytes.js'

/** Removes a byte order mark: nobody needs it, and a reader of lines takes it for a part of the first line. */
export function withoutMark(bytes: Buffer): Buffer {
  const isMarked = bytes.toString('latin1', 0, byteOrderMark.length) === byteOrderMark
  return isMarked ? bytes.subarray(byteOrderMark.length) : bytes
}

/** No line of an event stream begins with a brace or a bracket. */
export function looksLikeJson(chunk: unknown): boolean {
  return /^\s*[[{]/.test(textAtStart(chunk, 16))
}

function textAtStart(chunk: unknown, length: number): string {
  if (typeof chunk === 'string') return chunk.slice(0, length)
  if (!(chunk instanceof Uint8Array)) return ''
  return Buffer.from(chunk.buffer, chunk.byteOffset, Math.min(chunk.length, length)).toString()
}

/** Lines of fields and comments up to a blank line. Or the start of an event with JSON, whose rest has not come yet. */
const firstEvent =
  /^\ufeff?[\r\n]*(?:(?:(?:(?:data|event|id|retry)(?::[^\r\n]*)?|:[^\r\n]*)(?:\r\n|\r|\n))+(?:\r\n|\r|\n)|(?:event: *[\w.]+\r?\n)?data: *\{)/
const maxFirstEvent = 4_096

/** Whether these bytes surely begin an event stream. A colon alone does not prove it: a text may begin with one. */
export function beginsWithEvent(chunk: unknown): boolean {
  return firstEvent.test(textAtStart(chunk, maxFirstEvent))
}

/** Whether at least one line belongs to an event stream: a comment, or a field of an event. */
export function holdsEventLine(chunk: unknown, encoding: string | undefined): boolean {
  const text = decoded(chunk, encoding)
  return /^\s*$/.test(text) || /(?:^|[\r\n])\ufeff?(?:(?:data|event|id|retry)(?::|[\r\n]|$)|:)/.test(text)
}

function decoded(chunk: unknown, encoding: string | undefined): string {
  if (typeof chunk !== 'string') return Buffer.from(chunk as Uint8Array).toString()
  const isText = encoding !== 'hex' && !encoding?.startsWith('base64')
  return isText ? chunk : Buffer.from(chunk, encoding as BufferEncoding).toString()
}
