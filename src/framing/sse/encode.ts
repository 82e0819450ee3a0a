import { shown } from '../../errors/bad-input.js'
import { isJson, jsonText } from '../json.js'

/**
 * One server-sent event.
 *
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */
export interface SSEEvent {
  /** The data: a string is sent as it is, anything else as JSON. */
  data: unknown
  /** The event's name. Leave it out for chat completions: some clients drop named events. */
  event?: string | undefined
  /** The id that a client sends back as `Last-Event-ID`; an empty string resets it. */
  id?: string | undefined
  /** How long a client waits before it reconnects, in milliseconds. */
  retry?: number | undefined
}

/** A comment line without a blank line of its own: every client measured takes it between any two events. */
export const heartbeat = ':\n'

const lineEnd = /\r\n|\r|\n/
// Line ends to some readers, though not to the specification: SillyTavern's regular expression stops at them.
const allLineEndsInJson = /[\u2028\u2029\u0085]/g

/**
 * Returns the wire text of one event, including its blank line.
 *
 * @param source an event, or a text for an event that has only data
 * @throws TypeError for data that is not JSON-serialisable, and for a name, id or retry that would break the framing
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 * @example
 * response.write(encodeEvent({ event: 'progress', data: { percent: 50 } }))
 */
export function encodeEvent(source: SSEEvent | string): string {
  if (typeof source === 'string') return `${encodeData(source)}\n`
  if (typeof source !== 'object' || source === null || Array.isArray(source) || ArrayBuffer.isView(source))
    throw new TypeError(`an event must be an object with data, or a text, got ${shown(source)}`)
  const { data, event, id, retry } = source
  if (data === undefined) throw missingData(source)
  let head = ''
  if (event !== undefined && event !== '') head += `event: ${checkField('event', event, /[\r\n]/)}\n`
  if (id !== undefined) head += `id: ${checkField('id', id, /[\r\n\0]/)}\n`
  if (retry !== undefined) {
    if (!Number.isSafeInteger(retry) || retry < 0)
      throw new TypeError(`event.retry must be a whole number of milliseconds from 0, got ${shown(retry)}`)
    head += `retry: ${retry}\n`
  }
  return `${head}${encodeData(data)}\n`
}

/** The wire text of a comment, one line for each of its lines. */
export function encodeComment(text: string): string {
  if (typeof text !== 'string') throw new TypeError(`a comment must be a text, got ${shown(text)}`)
  if (text === '') return heartbeat
  return text
    .split(lineEnd)
    .map((line) => `: ${line}\n`)
    .join('')
}

function encodeData(data: unknown): string {
  const text = typeof data === 'string' ? escapeIfJson(data) : encodeJson(data)
  if (!text.includes('\n') && !text.includes('\r')) return `data: ${text}\n`
  return text
    .split(lineEnd)
    .map((line) => `data: ${line}\n`)
    .join('')
}

function encodeJson(data: unknown): string {
  const json = jsonText(data)
  return holdsLineEnd(json) ? escapeLineEnds(json) : json
}

/** In a JSON text these characters can only stand inside strings, where an escape means the same. */
function escapeIfJson(text: string): string {
  return holdsLineEnd(text) && isJson(text) ? escapeLineEnds(text) : text
}

/** Three searches for one character each are faster than one for any of them. */
function holdsLineEnd(text: string): boolean {
  return text.includes('\u2028') || text.includes('\u2029') || text.includes('\u0085')
}

function escapeLineEnds(json: string): string {
  return json.replace(
    allLineEndsInJson,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

function checkField(name: string, value: unknown, forbidden: RegExp): string {
  if (typeof value === 'string' && !forbidden.test(value)) return value
  throw new TypeError(`event.${name} must be a string on one line, got ${shown(value)}`)
}

function missingData(event: object): TypeError {
  const others = Object.keys(event).filter((name) => !['data', 'event', 'id', 'retry'].includes(name))
  const hint = others.length > 0 ? `; event.${others[0]} is not a field, write { data: … }` : ''
  return new TypeError(`event.data is missing: undefined${hint}`)
}
