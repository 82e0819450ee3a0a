import { shapeOf } from './event-shape.js'
import { KnownMatchers } from './known-matchers.js'
import type { EventForm } from './repeated-event.js'
import { TextMatcher } from './text-matcher.js'

const lineEnds = /[\r\n\u2028\u2029\u0085]/
/** They are to be escaped (see `encodeEvent`). */
const toEscape = '\\u2028\\u2029\\u0085'

const known = /* @__PURE__ */ new KnownMatchers((shape) => new TextMatcher(shape, toEscape))

/** Events as the text of their data. */
export const textEvents: EventForm<string> = {
  latest: /* @__PURE__ */ new WeakMap(),
  matcherOf(event, members) {
    // One that has to be put on several lines, or escaped, is one of its kind.
    const shape = lineEnds.test(event) ? undefined : shapeOf(event, members)
    return shape && known.of(shape)
  },
}
