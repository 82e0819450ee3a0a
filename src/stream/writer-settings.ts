import type { StreamDialect } from '../dialects/dialect.js'
import type { StreamSettings } from './settings.js'

/** A setting that is not set is as the dialect has it. */
export function writerSettingsFor(
  { headers, framing }: StreamDialect,
  { writer }: StreamSettings,
): StreamSettings['writer'] {
  const framed = writer.framing === undefined && framing !== undefined ? { ...writer, framing } : writer
  if (headers === undefined || writer.headers === false) return framed
  return { ...framed, headers: { ...headers, ...framed.headers } }
}
