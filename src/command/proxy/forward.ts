import type { IncomingMessage, ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { nothing, pairs } from './call.js'
import { copyHead } from './headers.js'

/**
 * Passes a response on, byte for byte. One that breaks half-way is cut, so that it does not look whole.
 *
 * @throws what broke it, or who left
 */
export async function forward(answer: IncomingMessage, response: ServerResponse): Promise<void> {
  copyHead(answer, response)
  response.writeHead(response.statusCode, response.statusMessage)
  // A page that waits for the head, say of a subscription, gets it before the first byte.
  response.write(nothing)
  answer.once('end', () => {
    const { rawTrailers } = answer
    if (rawTrailers.length > 0) response.addTrailers(pairs(rawTrailers))
  })
  await pipeline(answer, response)
}
