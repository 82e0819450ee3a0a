/** What stays the same in an event, and what kind of value stands behind each but the last piece of it. */
export interface EventShape {
  fixed: string[]
  kinds: ('string' | 'number')[]
}

/** An expression, or what does its work, that is longer costs more than it saves. */
const longestEvent = 4_096

export const numberPattern = '\\d+'

const values = {
  string: /* @__PURE__ */ new RegExp(/* @__PURE__ */ stringPattern(''), 'y'),
  number: /* @__PURE__ */ new RegExp(numberPattern, 'y'),
}

/** A JSON string after its first quote, not empty. No line end can stand in it, which would be one of the event, nor `beside`. */
export function stringPattern(beside: string): string {
  const plain = `${String.raw`[^"\\\x00-\x1f`}${beside}]*`
  return String.raw`(?!")${plain}(?:\\.${plain})*`
}

/** Cuts an event where values stand that may differ; `undefined` if there is none, or one that is neither text nor number. */
export function shapeOf(event: string, members: RegExp): EventShape | undefined {
  if (event.length > longestEvent) return undefined
  const shape: EventShape = { fixed: [], kinds: [] }
  let at = 0
  for (const { 0: name, index } of event.matchAll(members)) {
    const start = index + name.length
    // Overtaken by the value before, or empty: what carries no text stays as it is.
    if (start < at || event[start] === '"') continue
    const kind = name.endsWith('"') ? 'string' : 'number'
    const value = values[kind]
    value.lastIndex = start
    if (!value.test(event)) return undefined
    shape.fixed.push(event.slice(at, start))
    shape.kinds.push(kind)
    at = value.lastIndex
  }
  if (at === 0) return undefined
  shape.fixed.push(event.slice(at))
  return shape
}
