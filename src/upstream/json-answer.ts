import { isErrorReport, reportedError } from '../errors/upstream-report.js'
import { byteOrderMark, decodeByteText, toByteText } from '../framing/bytes.js'
import { defaultMaxEventBytes } from '../framing/sse/follow.js'
import { answerTooLarge, notEvents } from './protocol-errors.js'

/** A JSON document that came instead of an event stream: told by its first character, and kept. */
export class JsonAnswer {
  /** As bytes, one character for each. */
  #bytes = ''
  #isJson: boolean | undefined
  readonly #maxBytes: number

  readonly #takesLists: boolean

  /** @param takesLists whether a list may be the answer: Gemini streams one without `alt=sse` */
  constructor(maxBytes = defaultMaxEventBytes, takesLists = true) {
    this.#maxBytes = maxBytes
    this.#takesLists = takesLists
  }

  /**
   * Whether a chunk is part of such a document: no line of an event stream begins with a brace or bracket.
   *
   * @throws StreamError `upstream_protocol` for a document that is too long, or a list that is not an answer
   */
  takes(chunk: Uint8Array | string): boolean {
    if (this.#isJson === false) return false
    const { length } = this.#bytes
    const text = this.#bytes + toByteText(chunk)
    this.#isJson ??= isJsonStart(text)
    // Of a body that is not JSON, or empty yet, only half a byte order mark has to be remembered.
    if (this.#isJson) this.#bytes = text
    else this.#bytes = this.#isJson === undefined && byteOrderMark.startsWith(text) ? text : ''
    if (!this.#isJson) return false
    // A look at a text that is still being put together copies all of it.
    if (!this.#takesLists && length < maxStart && isListOfAnswers(this.#bytes))
      throw notEvents('a JSON array')
    if (this.#bytes.length <= this.#maxBytes) return true
    throw answerTooLarge(this.#maxBytes)
  }

  /** Whether it is known by now if the body is JSON. */
  get isDecided(): boolean {
    return this.#isJson !== undefined
  }

  get text(): string {
    return decodeByteText(withoutMark(this.#bytes))
  }

  /**
   * The document, once it is whole; `undefined` if an event stream has come.
   *
   * @throws UpstreamError for one that reports an error, with the status it names
   * @throws StreamError `upstream_protocol` for a body that is not JSON after all
   */
  parse(): object | undefined {
    if (!this.#isJson) return undefined
    const json = parse(this.text)
    if (!json) throw notEvents('an unreadable JSON document')
    // Some send their events as a list.
    const report = Array.isArray(json) ? Object(json[0]) : json
    if (isErrorReport(report)) throw reportedError(report)
    return json
  }
}

function withoutMark(text: string): string {
  return text.startsWith(byteOrderMark) ? text.slice(byteOrderMark.length) : text
}

/** @returns `undefined` for nothing but space */
function isJsonStart(text: string): boolean | undefined {
  const [first] = byteOrderMark.startsWith(text) ? [] : withoutMark(text).trimStart()
  return first === undefined ? undefined : first === '{' || first === '['
}

/** Google reports errors in a list, too, which then holds nothing else. */
const listOfError = '[{"error"'
const maxStart = 200

function isListOfAnswers(text: string): boolean {
  const start = withoutMark(text.slice(0, maxStart)).replace(/\s/g, '').slice(0, listOfError.length)
  return start.startsWith('[') && !listOfError.startsWith(start)
}

function parse(text: string): object | undefined {
  try {
    const json = JSON.parse(text) as object
    return isNested(json, maxDepth) ? undefined : json
  } catch {
    return undefined
  }
}

/** Deeper than any answer. `JSON.parse` takes more, and the stack overflows in code that writes it again. */
const maxDepth = 500

function isNested(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  return depth === 0 || Object.values(value).some((inner) => isNested(inner, depth - 1))
}

/** A JSON document that came instead of events. */
export interface InsteadOfEvents {
  json: object
  text: string
}
