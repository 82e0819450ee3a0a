import { byteOrderMark } from '../framing/bytes.js'

/** Nobody needs it, and readers of lines take it for a part of the first one. */
export function withoutMark(bytes: Buffer): Buffer {
  const isMarked = bytes.toString('latin1', 0, byteOrderMark.length) === byteOrderMark
  return isMarked ? bytes.subarray(byteOrderMark.length) : bytes
}

/** No line of an event stream begins with a brace. */
export function looksLikeJson(chunk: unknown): boolean {
  if (typeof chunk === 'string') return /^\s*\{/.test(chunk.slice(0, 16))
  return chunk instanceof Uint8Array && /^\s*\{/.test(Buffer.from(chunk.subarray(0, 16)).toString('latin1'))
}

/** Whether these bytes could begin an event stream. */
export function beginsWithEvent(chunk: unknown): boolean {
  const start =
    typeof chunk === 'string'
      ? chunk.slice(0, 16)
      : Buffer.from(chunk as Uint8Array)
          .subarray(0, 19)
          .toString()
  return /^\ufeff?[\r\n]*(?:(?:data|event|id|retry) *:|:)/.test(start)
}

/** Whether one line at least is of an event stream: a comment, or a field of an event. */
export function holdsEventLine(chunk: unknown, encoding: string | undefined): boolean {
  const text = decoded(chunk, encoding)
  return /^\s*$/.test(text) || /(?:^|[\r\n])\ufeff?(?:(?:data|event|id|retry)(?::|[\r\n]|$)|:)/.test(text)
}

function decoded(chunk: unknown, encoding: string | undefined): string {
  if (typeof chunk !== 'string') return Buffer.from(chunk as Uint8Array).toString()
  const isText = encoding !== 'hex' && !encoding?.startsWith('base64')
  return isText ? chunk : Buffer.from(chunk, encoding as BufferEncoding).toString()
}

export function isEmpty(chunk: unknown): boolean {
  return (typeof chunk === 'string' || chunk instanceof Uint8Array) && chunk.length === 0
}
