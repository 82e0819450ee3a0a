import type { Framing } from '../framing.js'
import { encodeEvent } from './encode.js'
import { EventFollower } from './follow.js'
import { EventParser } from './parse.js'

/** Server-sent events. */
export const sse: Framing = {
  name: 'sse',
  type: 'text/event-stream',
  blockEnd: '\n\n',
  encode: encodeEvent,
  parse: (text) => new EventParser().parse(text),
  follow: (onEvent, options) => new EventFollower(onEvent, options),
}
