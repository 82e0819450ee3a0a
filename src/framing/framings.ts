import type { Framing, FramingName } from './framing.js'
import { jsonSequence, ndjson } from './ndjson/index.js'
import { sse } from './sse/index.js'

/** The wire formats by their names. */
export const framings: Readonly<Record<FramingName, Framing>> = { sse, ndjson }

const byType: readonly [RegExp, Framing][] = [
  [/^\s*text\/event-stream\s*(;|$)/i, sse],
  [/^\s*application\/((x-)?(ndjson|jsonl|jsonlines|json-lines)|stream\+json)\s*(;|$)/i, ndjson],
  [/^\s*application\/(x-)?json-seq\s*(;|$)/i, jsonSequence],
]

/** The wire format that a `Content-Type` names; `undefined` for anything but a stream of events. */
export function framingOf(contentType: unknown): Framing | undefined {
  if (contentType === undefined) return undefined
  const type = String(contentType)
  return byType.find(([pattern]) => pattern.test(type))?.[1]
}
