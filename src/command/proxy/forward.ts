import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { finished, pipeline } from 'node:stream/promises'
import { readUpstreamError } from '../../upstream/error-response.js'
import { nothing } from './call.js'
import { copyHead, headersIn } from './headers.js'

/**
 * Passes a response on, byte for byte. One that breaks half-way is cut, so that it does not look whole.
 *
 * @throws the error that broke it, or that says which side left
 */
export async function forward(answer: IncomingMessage, response: ServerResponse): Promise<void> {
  copyHead(answer, response)
  response.writeHead(response.statusCode, response.statusMessage)
  // A page that waits for the head, say of a subscription, gets it before the first byte.
  response.write(nothing)
  answer.once('end', () => {
    const { rawTrailers } = answer
    if (rawTrailers.length > 0) response.addTrailers(headersIn(rawTrailers))
  })
  await pipeline(answer, response)
}

/** An API explains an error in less. */
const maxHeldBytes = 64 * 1024

/**
 * Passes an error response on, byte for byte, once all of it has come. Until then the client has got no headers, and a
 * body that breaks, or does not end, can still become an error that the client can read.
 *
 * @throws UpstreamError if there is more than 64 KiB of it, or less than there should be
 */
export async function forwardError(
  answer: IncomingMessage,
  response: ServerResponse,
  onChunk: () => void,
): Promise<void> {
  const held: Buffer[] = []
  let bytes = 0
  // From here on silence is what counts, as for every error that `relay` reads.
  onChunk()
  try {
    for await (const chunk of answer) {
      onChunk()
      held.push(chunk)
      bytes += chunk.length
      if (bytes > maxHeldBytes) break
    }
  } catch {
    // The bytes that have come may still say why.
  }
  if (!answer.complete || bytes > maxHeldBytes) {
    const { statusCode = 502, headers } = answer
    // A compressed body says nothing without its end.
    const body = Readable.from(headers['content-encoding'] === undefined ? held : [])
    throw await readUpstreamError({ statusCode, headers, body })
  }
  copyHead(answer, response, ['trailer'])
  response.setHeader('Content-Length', bytes)
  response.end(Buffer.concat(held))
  await finished(response)
}
