import { jsonText } from '../json.js'
import type { SSEEvent } from '../sse/encode.js'

/**
 * One event as a line of JSON: its data, for a line has no other field.
 *
 * @throws TypeError for data that is not JSON-serialisable
 */
export function encodeLine({ data }: SSEEvent): string {
  return `${typeof data === 'string' ? lineOf(data) : jsonText(data)}\n`
}

/** A text that is JSON is sent as it is, unless it has several lines. */
function lineOf(text: string): string {
  try {
    const json: unknown = JSON.parse(text)
    return /[\r\n]/.test(text) ? JSON.stringify(json) : text
  } catch {
    return JSON.stringify(text)
  }
}
