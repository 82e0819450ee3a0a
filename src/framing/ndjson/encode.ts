import { shown } from '../../errors/bad-input.js'
import type { SSEEvent } from '../sse/encode.js'

/**
 * One event as a line of JSON: its data, for a line has no other field.
 *
 * @throws TypeError for data that is not JSON-serialisable
 */
export function encodeLine({ data }: SSEEvent): string {
  if (typeof data === 'string') return `${lineOf(data)}\n`
  const json: string | undefined = JSON.stringify(data)
  if (json === undefined) throw new TypeError(`event.data is not JSON-serialisable: ${shown(data)}`)
  return `${json}\n`
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
