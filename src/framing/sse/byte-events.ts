import { type EventShape, shapeOf } from './event-shape.js'
import { carriageReturn, lineFeed, toByteText } from './framing.js'
import { KnownMatchers } from './known-matchers.js'
import type { EventForm, EventMatcher } from './repeats.js'

const space = 32
const quote = 34
const zero = 48
const nine = 57
const backslash = 92

/**
 * By hand: an expression is quicker in a loop, but needs the bytes as text first, and at the pace of tokens, when nothing is
 * in the caches, what costs is how much code an event runs through.
 */
class ByteMatcher implements EventMatcher<Uint8Array> {
  readonly #fixed: readonly Uint8Array[]
  readonly #kinds: EventShape['kinds']

  constructor({ fixed, kinds }: EventShape) {
    // Copies: what is kept for long must not keep a piece of Node's pool.
    this.#fixed = fixed.map((text) => Uint8Array.from(Buffer.from(text, 'latin1')))
    this.#kinds = kinds
  }

  endOf(bytes: Uint8Array, start: number): number {
    let at = start
    let index = 0
    for (const piece of this.#fixed) {
      if (!holdsAt(bytes, at, piece)) return 0
      at += piece.length
      const kind = this.#kinds[index++]
      if (!kind) return at
      at = kind === 'string' ? endOfString(bytes, at) : endOfNumber(bytes, at)
      if (at === 0) return 0
    }
    return at
  }
}

function holdsAt(bytes: Uint8Array, start: number, piece: Uint8Array): boolean {
  const { length } = piece
  if (start + length > bytes.length) return false
  for (let at = 0; at < length; at++) if (bytes[start + at] !== piece[at]) return false
  return true
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

const known = /* @__PURE__ */ new KnownMatchers((shape) => new ByteMatcher(shape))

/** Whole events, as the bytes of an event stream. */
export const byteEvents: EventForm<Uint8Array> = {
  latest: /* @__PURE__ */ new WeakMap(),
  matcherOf(event, members) {
    const shape = shapeOf(toByteText(event), members)
    return shape && known.of(shape)
  },
}
