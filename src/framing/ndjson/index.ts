import type { Framing } from '../framing.js'
import { encodeLine } from './encode.js'
import { LineFollower, parseLine } from './follow.js'

/**
 * One JSON document a line; with `application/json-seq` there is a record separator before each.
 *
 * @see https://github.com/ndjson/ndjson-spec
 * @see https://www.rfc-editor.org/rfc/rfc7464
 */
export const ndjson: Framing = {
  name: 'ndjson',
  type: 'application/x-ndjson',
  blockEnd: '\n',
  encode: encodeLine,
  parse: parseLine,
  follow: (onEvent, options) => new LineFollower(onEvent, options),
}
