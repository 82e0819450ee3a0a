import type { Framing } from '../framing/framing.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import type { StreamDialect } from './dialect.js'

/** The wire text of one event that unhang writes into a stream of a dialect. */
export function wireText(event: SSEEvent, dialect: StreamDialect, framing: Framing): string {
  const isOwn = framing.name === (dialect.framing ?? 'sse')
  return dialect.encode && isOwn ? dialect.encode(event) : framing.encode(event)
}
