import type { EventMatcher } from './repeated-event.js'

/** What stays the same in an event, and what stands behind each but the last piece of it. */
export interface EventShape {
  fixed: string[]
  values: ('string' | 'number')[]
}

/** An expression, or what does its work, that is longer costs more than it saves. */
const longestEvent = 4_096
const mostShapes = 100

const value = { string: /* @__PURE__ */ new RegExp(/* @__PURE__ */ stringPattern(''), 'y'), number: /\d+/y }

/** A JSON string after its first quote, not empty. No line end can stand in it, which would be one of the event, nor `beside`. */
export function stringPattern(beside: string): string {
  const plain = `${String.raw`[^"\\\x00-\x1f`}${beside}]*`
  return String.raw`(?!")${plain}(?:\\.${plain})*`
}

/** Cuts an event where values stand that may differ; `undefined` if there is none, or one that is neither text nor number. */
export function shapeOf(event: string, members: RegExp): EventShape | undefined {
  if (event.length > longestEvent) return undefined
  const shape: EventShape = { fixed: [], values: [] }
  let at = 0
  for (const { 0: name, index } of event.matchAll(members)) {
    const start = index + name.length
    // Overtaken by the value before, or empty: what carries no text stays as it is.
    if (start < at || event[start] === '"') continue
    const kind = name.endsWith('"') ? 'string' : 'number'
    value[kind].lastIndex = start
    if (!value[kind].test(event)) return undefined
    shape.fixed.push(event.slice(at, start))
    shape.values.push(kind)
    at = value[kind].lastIndex
  }
  if (at === 0) return undefined
  shape.fixed.push(event.slice(at))
  return shape
}

/** Streams of one upstream look alike: they share what finds their events. */
export class KnownMatchers<Source> {
  readonly #make: (shape: EventShape) => EventMatcher<Source>
  readonly #matchers = new Map<string, EventMatcher<Source>>()

  constructor(make: (shape: EventShape) => EventMatcher<Source>) {
    this.#make = make
  }

  of(shape: EventShape): EventMatcher<Source> {
    const key = JSON.stringify(shape)
    const known = this.#matchers.get(key)
    if (known) return known
    if (this.#matchers.size >= mostShapes) this.#matchers.clear()
    const matcher = this.#make(shape)
    this.#matchers.set(key, matcher)
    return matcher
  }
}
