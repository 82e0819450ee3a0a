import { entrySize, isObject, type JsonObject, setOwn, sizeOf } from './dialect.js'

/**
 * Adds a piece to the answer so far: text to text, items to items.
 *
 * @returns by how much that has grown, in characters
 */
export function merge(said: JsonObject, piece: JsonObject): number {
  let grown = 0
  for (const [name, value] of Object.entries(piece)) {
    const before = Object.hasOwn(said, name) ? said[name] : undefined
    // An empty beginning is not content yet: a message that only calls tools has none.
    const isNothing = value === undefined || (name === 'content' && value === '')
    if (isNothing || (value === null && before !== undefined)) continue
    grown += sizeOf(value) + (before === undefined ? entrySize : 0)
    if (typeof value === 'string' && typeof before === 'string' && !fixed.has(name))
      setOwn(said, name, before + value)
    else if (Array.isArray(value) && Array.isArray(before)) for (const item of value) before.push(item)
    else if (isObject(value) && isObject(before)) merge(before, value)
    else setOwn(said, name, structuredClone(value))
  }
  return grown
}

/**
 * Adds a piece to the part of this number, or begins that part with it.
 *
 * @returns by how much the parts have grown, in characters
 */
export function mergeAt(parts: Map<unknown, JsonObject>, number: unknown, piece: JsonObject): number {
  const known = parts.get(number)
  const part = known ?? {}
  parts.set(number, part)
  return merge(part, piece) + (known ? 0 : entrySize)
}

/** Members that come once, and perhaps again, but never in pieces. */
const fixed = new Set(['id', 'type', 'role', 'object'])

/**
 * Takes members of the whole answer, of which the last value counts.
 *
 * @returns by how much that has grown, in characters
 */
export function replace(said: JsonObject, anew: JsonObject): number {
  let grown = 0
  for (const [name, value] of Object.entries(anew)) {
    if (value === undefined || value === null) continue
    grown += sizeOf(value) + (Object.hasOwn(said, name) ? -sizeOf(said[name]) : entrySize)
    setOwn(said, name, value)
  }
  return grown
}
