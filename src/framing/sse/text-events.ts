import { type EventShape, numberPattern, shapeOf, stringPattern } from './event-shape.js'
import { KnownMatchers } from './known-matchers.js'
import type { EventForm, EventMatcher } from './repeats.js'

const lineEnds = /[\r\n\u2028\u2029\u0085]/
const patterns = {
  /** Without those characters that are to be escaped (see `encodeEvent`). */
  string: /* @__PURE__ */ stringPattern('\\u2028\\u2029\\u0085'),
  number: numberPattern,
}

/** An expression keeps on a stack where each escape was: of three million of them it overflows. */
const longestText = 1024 * 1024

class TextMatcher implements EventMatcher<string> {
  readonly #expression: RegExp

  constructor({ fixed, kinds }: EventShape) {
    const pattern = fixed.map((text, index) => {
      const kind = kinds[index]
      return literal(text) + (kind ? patterns[kind] : '')
    })
    this.#expression = new RegExp(pattern.join(''), 'y')
  }

  endOf(text: string, start: number): number {
    if (text.length > longestText) return 0
    const expression = this.#expression
    expression.lastIndex = start
    return expression.test(text) ? expression.lastIndex : 0
  }
}

const known = /* @__PURE__ */ new KnownMatchers((shape) => new TextMatcher(shape))

/** Events as the text of their data. */
export const textEvents: EventForm<string> = {
  latest: /* @__PURE__ */ new WeakMap(),
  matcherOf(event, members) {
    // One that has to be put on several lines, or escaped, is one of its kind.
    const shape = lineEnds.test(event) ? undefined : shapeOf(event, members)
    return shape && known.of(shape)
  },
}

function literal(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&').replaceAll('\n', '\\n')
}
