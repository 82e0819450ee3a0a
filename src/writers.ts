import { processWide } from './process-wide.js'
import type { SSEEvent } from './sse-encode.js'

/** What the rest of the library may know of the writer of a response. */
interface ResponseOwner {
  readonly committed: boolean
  readonly events: number
  close(...last: SSEEvent[]): void
}

/** The writer of each response, one registry per process. */
export const writers = processWide('writers', () => new WeakMap<object, ResponseOwner>())
