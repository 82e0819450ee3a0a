import type { FramingName } from '../framing/framing.js'
import { encodeLine } from '../framing/ndjson/encode.js'
import { encodeEvent, type SSEEvent } from '../framing/sse/encode.js'
import type { StreamDialect } from './dialect.js'

const encoders = { sse: encodeEvent, ndjson: encodeLine }

/** The wire text of one event that unhang writes into a stream of a dialect. */
export function wireText(event: SSEEvent, dialect: StreamDialect, framing: FramingName): string {
  const isOwn = framing === (dialect.framing ?? 'sse')
  return dialect.encode && isOwn ? dialect.encode(event) : encoders[framing](event)
}
