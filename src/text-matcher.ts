import { type EventShape, numberPattern, stringPattern } from './event-shape.js'
import type { EventMatcher } from './repeated-event.js'

/** Finds events of one shape in a text. */
export class TextMatcher implements EventMatcher<string> {
  readonly #expression: RegExp

  /** @param beside see `stringPattern` */
  constructor({ fixed, kinds }: EventShape, beside: string) {
    const patterns = { string: stringPattern(beside), number: numberPattern }
    const pattern = fixed.map((text, index) => {
      const kind = kinds[index]
      return literal(text) + (kind ? patterns[kind] : '')
    })
    this.#expression = new RegExp(pattern.join(''), 'y')
  }

  endOf(text: string, start: number): number {
    const expression = this.#expression
    expression.lastIndex = start
    return expression.test(text) ? expression.lastIndex : 0
  }
}

function literal(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&').replaceAll('\n', '\\n')
}
