import type { StreamError } from '../errors/stream-error.js'
import { encodeEvent, type SSEEvent } from '../framing/sse/encode.js'
import { type DialectState, type EventRole, jsonOf, type StreamDialect } from './dialect.js'
import { contentAnswerForm } from './gemini-answer.js'

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

interface Candidate {
  index?: unknown
  content?: { parts?: unknown } | null
  finishReason?: unknown
}

interface GenerateContentEvent {
  error?: unknown
  candidates?: unknown
  promptFeedback?: { blockReason?: unknown } | null
}

const isError = ({ data }: SSEEvent) => Boolean(jsonOf<GenerateContentEvent>(data)?.error)

class GenerateContentStream implements DialectState {
  #isBlocked = false
  #finished = false
  /** Candidates that have begun, or have gone on after a reason to finish. */
  readonly #open = new Set<unknown>()

  get complete(): boolean {
    return this.#isBlocked || (this.#finished && this.#open.size === 0)
  }

  observe({ data }: SSEEvent): EventRole {
    const event = jsonOf<GenerateContentEvent>(data)
    if (!event) return 'other'
    if (event.error) return 'error'
    if (event.promptFeedback?.blockReason) this.#isBlocked = true
    let role: EventRole = 'other'
    for (const candidate of Array.isArray(event.candidates) ? (event.candidates as Candidate[]) : []) {
      if (typeof candidate !== 'object' || candidate === null) continue
      const { index = 0, content, finishReason } = candidate
      const parts: unknown[] = Array.isArray(content?.parts) ? content.parts : []
      const isContent = parts.some((part) => Object(part).text !== '')
      if (isContent) role = 'content'
      if (finishReason) {
        this.#open.delete(index)
        this.#finished = true
      } else if (isContent) this.#open.add(index)
    }
    return role
  }

  closing(): SSEEvent[] {
    return []
  }

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
