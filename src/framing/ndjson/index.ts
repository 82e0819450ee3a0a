import type { Framing } from '../framing.js'
import { encodeLine } from './encode.js'
import { LineFollower, parseLine, recordSeparator } from './follow.js'

/**
 * One JSON document a line.
 *
 * @see https://github.com/ndjson/ndjson-spec
 */
export const ndjson: Framing = {
  name: 'ndjson',
  type: 'application/x-ndjson',
  blockEnd: '\n',
  encode: encodeLine,
  parse: parseLine,
  follow: (onEvent, options) => new LineFollower(onEvent, options),
}

/**
 * The same with a record separator before each document.
 *
 * @see https://www.rfc-editor.org/rfc/rfc7464
 */
export const jsonSequence: Framing = {
  ...ndjson,
  type: 'application/json-seq',
  encode: (event) => recordSeparator + encodeLine(event),
}
