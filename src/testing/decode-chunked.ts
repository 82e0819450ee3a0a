/** The body of a response, as it was meant. */
export interface ReceivedBody {
  /** The bytes without their chunk framing. */
  bytes: Buffer
  /** Whether the body was ended as HTTP ends a body. */
  complete: boolean
}

/** A body without its chunk framing, and whether the last chunk has come (RFC 9112 section 7.1). */
export function decodeChunked(bytes: Buffer): ReceivedBody {
  const pieces: Buffer[] = []
  let at = 0
  for (;;) {
    const lineEnd = bytes.indexOf('\r\n', at)
    if (lineEnd === -1) break
    const line = bytes.subarray(at, lineEnd).toString()
    const size = /^[\da-f]+ *(?:;|$)/i.test(line) ? Number.parseInt(line, 16) : Number.NaN
    if (Number.isNaN(size)) throw new Error(`bad chunk size at ${at}: ${bytes.subarray(at, lineEnd)}`)
    if (size === 0) return { bytes: Buffer.concat(pieces), complete: bytes.indexOf('\r\n\r\n', at) !== -1 }
    const start = lineEnd + 2
    if (bytes.length < start + size + 2) {
      pieces.push(bytes.subarray(start, start + size))
      break
    }
    pieces.push(bytes.subarray(start, start + size))
    at = start + size + 2
  }
  return { bytes: Buffer.concat(pieces), complete: false }
}
