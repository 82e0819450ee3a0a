import { asBuffer } from '../client/as-buffer.js'
import { byteOrderMark, isMarked } from '../framing/bytes.js'
import type { Framing } from '../framing/framing.js'
import { isJsonLine, parseLine } from '../framing/ndjson/follow.js'

/** Removes a byte order mark: it is not needed, and a reader of lines takes it for a part of the first line. */
export function withoutMark(bytes: Buffer): Buffer {
  // Of two only the first is one: without it the second would be.
  const isOne = isMarked(bytes) && !isMarked(bytes, byteOrderMark.length)
  return isOne ? bytes.subarray(byteOrderMark.length) : bytes
}

/** No line of an event stream begins with a brace or a bracket. */
export function looksLikeJson(chunk: unknown): boolean {
  return /^\s*[[{]/.test(textAtStart(chunk, 16))
}

/** Whether a body may be what its head says: JSON that is not a line begins a document, not a stream. */
export function looksLikeEvents(chunk: unknown, { name }: Framing): boolean {
  if (name === 'sse') return !looksLikeJson(chunk)
  const [first = '', ...more] = textAtStart(chunk, maxFirstLine)
    .replace(/^\ufeff/, '')
    .trimStart()
    .split('\n')
  if (more.length > 0) return isJsonLine(first)
  const line = parseLine(first)?.data
  return line === undefined || /^[[{"tfn\d-]/.test(line)
}

const maxFirstLine = 64 * 1_024

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

/**
 * Whether what a handler ends with may be of its stream. Of server-sent events at least one line belongs to it: a comment, or
 * a field of an event. Of JSON lines each does.
 */
export function holdsEvents(chunk: unknown, encoding: string | undefined, { name }: Framing): boolean {
  const isText = typeof chunk === 'string' && !/^(hex|base64)/.test(encoding ?? '')
  const text = isText ? chunk : asBuffer(chunk as Uint8Array | string, encoding).toString()
  if (name === 'ndjson') return text.split('\n').every(isJsonLine)
  return /^\s*$/.test(text) || /(?:^|[\r\n])\ufeff?(?:(?:data|event|id|retry)(?::|[\r\n]|$)|:)/.test(text)
}
