import type { SSEEvent } from '../framing/sse/encode.js'
import { type AnswerForm, type CollectedAnswer, entrySize, isObject, jsonOf, sizeOf } from './dialect.js'
import { replace } from './merge.js'

interface Part {
  text?: unknown
  thought?: unknown
  thoughtSignature?: unknown
  [more: string]: unknown
}

interface Candidate {
  index?: unknown
  content?: { parts?: unknown; [more: string]: unknown } | null
  finishReason?: unknown
  [more: string]: unknown
}

interface Answer {
  candidates?: unknown
  promptFeedback?: { blockReason?: unknown } | null
  [more: string]: unknown
}

/** More than the API gives; of more, each would cost more memory here than in the upstream's answer. */
const maxCandidates = 128

/**
 * A `GenerateContentResponse`, which is what each event of its stream is, too.
 *
 * @see https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse
 */
export const contentAnswerForm: AnswerForm = {
  toEvents(answer) {
    const { candidates, promptFeedback, ...rest } = jsonOf<Answer>(answer) ?? {}
    const isBlocked = Boolean(promptFeedback?.blockReason)
    if (isBlocked && candidates === undefined) return [{ data: answer }]
    if (!Array.isArray(candidates) || candidates.length === 0 || !candidates.every(isObject)) return undefined
    const ended = candidates.map((candidate) => ({
      ...candidate,
      finishReason: candidate.finishReason || 'STOP',
    }))
    return [{ data: { ...rest, candidates: ended, ...(promptFeedback && { promptFeedback }) } }]
  },
  collect: () => new CollectedContent(),
}

class CollectedContent implements CollectedAnswer {
  size = 0
  #head: Answer = {}
  readonly #candidates = new Map<number, CollectedCandidate>()

  add({ data }: SSEEvent): void {
    const { candidates, ...head } = jsonOf<Answer>(data) ?? {}
    this.size += replace(this.#head, head)
    for (const candidate of Array.isArray(candidates) ? candidates : []) {
      if (!isObject(candidate)) continue
      const { index = 0 } = candidate as Candidate
      if (!Number.isInteger(index) || Number(index) < 0 || Number(index) >= maxCandidates) continue
      const collected = this.#candidates.get(Number(index)) ?? new CollectedCandidate()
      this.#candidates.set(Number(index), collected)
      this.size += collected.add(candidate)
    }
  }

  get answer(): unknown {
    const inOrder = [...this.#candidates].sort(([a], [b]) => a - b)
    const candidates = inOrder.map(([, candidate]) => candidate.answer)
    return { ...(candidates.length > 0 && { candidates }), ...this.#head }
  }
}

class CollectedCandidate {
  readonly #more: Candidate = {}
  readonly #content: { [more: string]: unknown } = {}
  readonly #parts: Part[] = []

  /** @returns by how much it has grown, in characters */
  add({ content, ...more }: Candidate): number {
    let grown = replace(this.#more, more)
    if (!isObject(content)) return grown
    const { parts, ...rest } = content
    grown += replace(this.#content, rest)
    for (const part of Array.isArray(parts) ? parts : []) if (isObject(part)) grown += this.#addPart(part)
    return grown
  }

  /** A text goes on with the next one, unless one of them is a thought, or the text so far is signed. */
  #addPart(part: Part): number {
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

const isText = ({ text }: Part) => typeof text === 'string'
