import type { IncomingMessage } from 'node:http'
import { pipeline, type Transform } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib'
import type { UpstreamSource } from '../../upstream/source.js'

const decoders: Readonly<Record<string, (() => Transform) | undefined>> = {
  gzip: createGunzip,
  'x-gzip': createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
}

/** Whether the body can be looked into. */
export function isReadable(answer: IncomingMessage): boolean {
  const encoding = encodingOf(answer)
  return encoding === undefined || decoders[encoding] !== undefined
}

/** The response, of which the body is as it was before an upstream compressed it, though it was asked not to. */
export function decoded(answer: IncomingMessage): UpstreamSource {
  const decoder = decoders[encodingOf(answer) ?? '']?.()
  if (!decoder) return answer
  // The code that reads it finds out that it broke.
  pipeline(answer, decoder, () => {})
  const { statusCode = 502, headers } = answer
  return { statusCode, headers, body: decoder }
}

function encodingOf({ headers }: IncomingMessage): string | undefined {
  const encoding = headers['content-encoding']?.trim().toLowerCase()
  return encoding === '' || encoding === 'identity' ? undefined : encoding
}
