// Imported: as a global, Buffer is an accessor, which V8 does not compile into what uses it on every chunk.
import { Buffer } from 'node:buffer'

/** The same memory as a Buffer; a text in its encoding, UTF-8 if there is none. */
export function asBuffer(bytes: Uint8Array | string, encoding?: unknown): Buffer {
  if (typeof bytes === 'string')
    return Buffer.from(bytes, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8')
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
