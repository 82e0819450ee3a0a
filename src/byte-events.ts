// See byte-text.ts.
import { Buffer } from 'node:buffer'
import { carriageReturn, lineFeed, toByteText } from './byte-text.js'
import { type EventShape, shapeOf } from './event-shape.js'
import { KnownMatchers } from './known-matchers.js'
import type { EventForm, EventMatcher } from './repeated-event.js'

const space = 32
const quote = 34
const zero = 48
const nine = 57
const backslash = 92

/** Stand for values that may differ. They occur in no UTF-8. */
const stringHole = 0xff
const numberHole = 0xfe

/**
 * By hand: an expression is quicker in a loop, but needs the bytes as text first, and at the pace of tokens, when nothing is
 * in the caches, what costs is how much code and how many objects an event runs through. So all that stays the same is one
 * array.
 */
class ByteMatcher implements EventMatcher<Uint8Array> {
  readonly #template: Uint8Array

  constructor(template: Uint8Array) {
    this.#template = template
  }

  endOf(bytes: Uint8Array, start: number): number {
    const template = this.#template
    const { length } = bytes
    let at = start
    for (let index = 0; index < template.length; index++) {
      const expected = template[index] as number
      if (expected < numberHole) {
        if (at >= length || bytes[at] !== expected) return 0
        at++
      } else {
        at = expected === stringHole ? endOfString(bytes, at) : endOfNumber(bytes, at)
        if (at === 0) return 0
      }
    }
    return at
  }
}

function templateOf({ fixed, kinds }: EventShape): Uint8Array {
  const pieces = fixed.map((text, index) => {
    const kind = kinds[index]
    return kind ? text + String.fromCharCode(kind === 'string' ? stringHole : numberHole) : text
  })
  // A copy: what is kept for long must not keep a piece of Node's pool.
  return Uint8Array.from(Buffer.from(pieces.join(''), 'latin1'))
}

/** Where a JSON string ends that has begun; 0 for an empty one. */
function endOfString(bytes: Uint8Array, start: number): number {
  if (bytes[start] === quote) return 0
  let at = start
  for (const { length } = bytes; at < length; at++) {
    const byte = bytes[at] as number
    if (byte === quote || byte < space) return at
    if (byte !== backslash) continue
    at++
    if (bytes[at] === lineFeed || bytes[at] === carriageReturn) return at - 1
  }
  return at
}

function endOfNumber(bytes: Uint8Array, start: number): number {
  let at = start
  for (const { length } = bytes; at < length; at++) {
    const byte = bytes[at] as number
    if (byte < zero || byte > nine) break
  }
  return at > start ? at : 0
}

const known = /* @__PURE__ */ new KnownMatchers((shape) => new ByteMatcher(templateOf(shape)))

/** Whole events, as the bytes of an event stream. */
export const byteEvents: EventForm<Uint8Array> = {
  latest: /* @__PURE__ */ new WeakMap(),
  matcherOf(event, members) {
    if (event.includes(stringHole) || event.includes(numberHole)) return undefined
    const shape = shapeOf(toByteText(event), members)
    return shape && known.of(shape)
  },
}
