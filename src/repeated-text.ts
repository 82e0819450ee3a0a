const number = '\\d+'
/** A JSON string after its first quote, not empty. No line end can stand in it: it would be one of the event. */
const stringOfBytes = /* @__PURE__ */ stringWithout('')
/** In characters, without those that are to be escaped (see `encodeEvent`). */
const stringOfText = /* @__PURE__ */ stringWithout('\\u2028\\u2029\\u0085')
const lineEnds = /[\r\n\u2028\u2029\u0085]/

function stringWithout(more: string): string {
  const plain = `${String.raw`[^"\\\x00-\x1f`}${more}]*`
  return String.raw`(?!")${plain}(?:\\.${plain})*`
}

const mostShapes = 100
/** V8 refuses an expression that is too long, and one that is half as long costs more than it saves. */
const longestEvent = 4_096
const mostVainLessons = 5

/** Streams of one upstream look alike, and an expression is dear to make. */
const shapes = new Map<string, RegExp>()

/** Most look as the last one did, by the members in which their events may differ. */
const latest = { text: new WeakMap<RegExp, RegExp>(), bytes: new WeakMap<RegExp, RegExp>() }

/**
 * Recognizes an event that is one before again, but for the text it carries: of a thousand events of an answer
 * nearly all are. While the stream's state is the same, what was found out about the one holds for the other, which
 * need not be parsed.
 */
export class RepeatedText {
  readonly #form: 'text' | 'bytes'
  #shape: RegExp | undefined
  /** How many events were learned in a row that nothing repeated. */
  #vain = 0

  /** @param form what the events are given as: text, or bytes with one character for each */
  constructor(form: 'text' | 'bytes') {
    this.#form = form
  }

  /** @param members finds the start of the value of each JSON member in which events may differ; global */
  learn(event: string, members: RegExp): void {
    if (this.#vain >= mostVainLessons) return this.forget()
    this.#vain++
    const known = latest[this.#form].get(members)
    if (known && endOf(event, 0, known) === event.length) {
      this.#shape = known
      return
    }
    // Not from the first: it may stay the only one.
    if (this.#vain === 1) return
    this.#shape = this.#shapeOf(event, members)
    if (this.#shape) latest[this.#form].set(members, this.#shape)
  }

  #shapeOf(event: string, members: RegExp): RegExp | undefined {
    if (event.length > longestEvent) return undefined
    if (this.#form === 'bytes') return shapeOf(event, members, stringOfBytes)
    // One that has to be put on several lines, or escaped, is one of its kind.
    return lineEnds.test(event) ? undefined : shapeOf(event, members, stringOfText)
  }

  forget(): void {
    this.#shape = undefined
  }

  /** Where the event that begins here ends, if it repeats the one that was learned; else 0. */
  endOf(text: string, start: number): number {
    // Behind the last event there is nothing to look for.
    const end = this.#shape && start < text.length ? endOf(text, start, this.#shape) : 0
    if (end > 0) this.#vain = 0
    return end
  }
}

function endOf(text: string, start: number, shape: RegExp): number {
  shape.lastIndex = start
  return shape.test(text) ? shape.lastIndex : 0
}

function shapeOf(event: string, members: RegExp, string: string): RegExp | undefined {
  let pattern = ''
  let at = 0
  for (const { 0: name, index } of event.matchAll(members)) {
    const start = index + name.length
    // Overtaken by the value before, or empty: what carries no text stays as it is.
    if (start < at || event[start] === '"') continue
    const value = new RegExp(name.endsWith('"') ? string : number, 'y')
    value.lastIndex = start
    if (!value.test(event)) return undefined
    pattern += literal(event.slice(at, start)) + value.source
    at = value.lastIndex
  }
  return at === 0 ? undefined : remembered(pattern + literal(event.slice(at)))
}

function remembered(pattern: string): RegExp {
  const known = shapes.get(pattern)
  if (known) return known
  if (shapes.size >= mostShapes) shapes.clear()
  const shape = new RegExp(pattern, 'y')
  shapes.set(pattern, shape)
  return shape
}

function literal(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&').replaceAll('\n', '\\n')
}
