import type { StreamError } from '../errors/stream-error.js'
import { encodeEvent, type SSEEvent } from '../framing/sse/encode.js'
import { CollectedChoices } from './choices.js'
import {
  type AnswerForm,
  type CollectedAnswer,
  type DialectState,
  type EventRole,
  entrySize,
  isObject,
  type JsonObject,
  jsonOf,
  objectsIn,
  type StreamDialect,
  sizeOf,
} from './dialect.js'
import { replace } from './merge.js'

/**
 * A `GenerateContentResponse`, which is what each event of its stream is, too.
 *
 * @see https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse
 */
const contentAnswerForm: AnswerForm = {
  toEvents(answer) {
    const { candidates, promptFeedback, ...rest } = jsonOf(answer) ?? {}
    const isBlocked = Boolean(Object(promptFeedback).blockReason)
    if (isBlocked && candidates === undefined) return [{ data: answer }]
    if (!Array.isArray(candidates) || candidates.length === 0 || !candidates.every(isObject)) return undefined
    const ended = candidates.map((candidate) => ({
      ...candidate,
      finishReason: candidate.finishReason || 'STOP',
    }))
    return [{ data: { ...rest, candidates: ended, ...(promptFeedback ? { promptFeedback } : {}) } }]
  },
  collect: () => new CollectedContent(),
}

class CollectedContent implements CollectedAnswer {
  size = 0
  readonly #head: JsonObject = {}
  readonly #candidates = new CollectedChoices(() => new CollectedCandidate())

  add({ data }: SSEEvent): void {
    const { candidates, ...head } = jsonOf(data) ?? {}
    this.size += replace(this.#head, head) + this.#candidates.add(candidates)
  }

  get answer(): unknown {
    const candidates = this.#candidates.inOrder.map(([, candidate]) => candidate.answer)
    return { ...(candidates.length > 0 && { candidates }), ...this.#head }
  }
}

class CollectedCandidate {
  readonly #more: JsonObject = {}
  readonly #content: JsonObject = {}
  readonly #parts: JsonObject[] = []

  add({ content, ...more }: JsonObject): number {
    let grown = replace(this.#more, more)
    if (!isObject(content)) return grown
    const { parts, ...rest } = content
    grown += replace(this.#content, rest)
    for (const part of objectsIn(parts)) grown += this.#addPart(part)
    return grown
  }

  /** A text goes on with the next one, unless one of them is a thought, or the text so far is signed. */
  #addPart(part: JsonObject): number {
    const last = this.#parts.at(-1)
    if (last && isText(last) && isText(part) && last.thought === part.thought && !last.thoughtSignature) {
      const { text, ...more } = part
      last.text = `${last.text}${text}`
      return String(text).length + replace(last, more)
    }
    if (part.text === '' && Object.keys(part).length === 1) return 0
    this.#parts.push({ ...part })
    return entrySize + sizeOf(part)
  }

  get answer(): object {
    return { content: { parts: this.#parts, ...this.#content }, ...this.#more }
  }
}

const isText = ({ text }: JsonObject) => typeof text === 'string'

/**
 * Streams of Gemini's `:streamGenerateContent?alt=sse`: complete once every candidate has its `finishReason`. Its clients
 * take no comments.
 *
 * @see https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent
 */
export const gemini: StreamDialect = {
  name: 'gemini',
  needsTerminal: true,
  takesComments: false,
  errorBody: googleError,
  answers: contentAnswerForm,
  encode(event) {
    const text = encodeEvent(event)
    // A blank line of this form is one to every reader but `@google/generative-ai`. That reads past an error object, and
    // takes the answer for complete. If it finds no end of an event, it reports that it cannot read the event.
    return isError(event) ? `${text.slice(0, -2)}\r\n\n` : text
  },
  follow: () => new GenerateContentStream(),
}

const isError = ({ data }: SSEEvent) => Boolean(jsonOf(data)?.error)

class GenerateContentStream implements DialectState {
  #isBlocked = false
  #finished = false
  /** Candidates that have begun, or have gone on after a reason to finish. */
  readonly #open = new Set<unknown>()

  get complete(): boolean {
    return this.#isBlocked || (this.#finished && this.#open.size === 0)
  }

  observe({ data }: SSEEvent): EventRole {
    const event = jsonOf(data)
    if (!event) return 'other'
    if (event.error) return 'error'
    if (Object(event.promptFeedback).blockReason) this.#isBlocked = true
    let role: EventRole = 'other'
    for (const { index = 0, content, finishReason } of objectsIn(event.candidates)) {
      const { parts } = Object(content)
      const isContent = Array.isArray(parts) && parts.some((part) => Object(part).text !== '')
      if (isContent) role = 'content'
      if (finishReason) {
        this.#open.delete(index)
        this.#finished = true
      } else if (isContent) this.#open.add(index)
    }
    return role
  }

  readonly closing = (): SSEEvent[] => []

  emptyDelta(): SSEEvent {
    return { data: { candidates: [] } }
  }

  failing(error: StreamError, message: string): SSEEvent[] {
    return [{ data: googleError(error, message) }]
  }
}

const statusNames: Record<number, string> = {
  400: 'INVALID_ARGUMENT',
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  429: 'RESOURCE_EXHAUSTED',
  499: 'CANCELLED',
  500: 'INTERNAL',
  504: 'DEADLINE_EXCEEDED',
}

/** @see https://google.aip.dev/193 */
function googleError({ status: code }: StreamError, message: string) {
  const status = statusNames[code] ?? (code < 500 ? 'FAILED_PRECONDITION' : 'UNAVAILABLE')
  return { error: { code, message, status } }
}
