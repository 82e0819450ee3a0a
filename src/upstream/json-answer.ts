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

  constructor(maxBytes = defaultMaxEventBytes) {
    this.#maxBytes = maxBytes
  }

  /**
   * Whether a chunk is part of such a document: no line of an event stream begins with a brace or bracket.
   *
   * @throws StreamError `upstream_protocol` for a document that is too long
   */
  takes(chunk: Uint8Array | string): boolean {
    if (this.#isJson === false) return false
    const text = this.#bytes + toByteText(chunk)
    this.#isJson ??= isJsonStart(text)
    // Of what is no JSON, or nothing yet, only half a byte order mark has to be remembered.
    if (this.#isJson) this.#bytes = text
    else this.#bytes = this.#isJson === undefined && byteOrderMark.startsWith(text) ? text : ''
    if (!this.#isJson) return false
    if (this.#bytes.length <= this.#maxBytes) return true
    throw answerTooLarge(this.#maxBytes)
  }

  /** Whether it is known by now what has come. */
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
   * @throws StreamError `upstream_protocol` for what is no JSON after all
   */
  parse(): object | undefined {
    if (!this.#isJson) return undefined
    const { text } = this
    if (isTooDeep(text)) throw notEvents('JSON that is nested too deeply')
    const json = parse(text)
    if (!json) throw notEvents('an unreadable JSON document')
    // Some send a list of what would have been events.
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

/** What walks through JSON of any depth, as `JSON.stringify` does, comes to the end of its stack. */
const maxDepth = 1_000

function isTooDeep(json: string): boolean {
  let depth = 0
  let isInString = false
  for (let at = 0; at < json.length && depth <= maxDepth; at++) {
    const character = json[at]
    if (character === '"') isInString = !isInString
    else if (isInString) at += character === '\\' ? 1 : 0
    else if (character === '[' || character === '{') depth++
    else if (character === ']' || character === '}') depth--
  }
  return depth > maxDepth
}

function parse(text: string): object | undefined {
  try {
    return JSON.parse(text) as object
  } catch {
    return undefined
  }
}

/** A JSON document that came instead of events. */
export interface InsteadOfEvents {
  json: object
  text: string
}
