import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http'
import { endToEnd } from './headers.js'

/** Passes on what an upstream says before it responds: 100, 102 and 103. */
export function forwardInterim(call: ClientRequest, response: ServerResponse): void {
  const { httpVersion, headers } = response.req
  if (httpVersion === '1.0') return
  const isExpected = headers.expect !== undefined
  call.on('information', (interim) => {
    // It would come into the middle of the body.
    if (response.headersSent) return
    if (interim.statusCode === 100 && isExpected) response.writeContinue()
    else if (interim.statusCode === 102) response.writeProcessing()
    else if (interim.statusCode === 103) writeHints(interim, response)
  })
}

function writeHints(
  interim: Pick<IncomingMessage, 'rawHeaders' | 'headers'>,
  response: ServerResponse,
): void {
  const hints: Record<string, string | string[]> = {}
  const links: string[] = []
  for (const [name, value] of endToEnd(interim)) {
    if (name.toLowerCase() === 'link') links.push(...value.split(/,\s*(?=<)/))
    else hints[name] = name in hints ? `${hints[name]}, ${value}` : value
  }
  try {
    response.writeEarlyHints({ ...hints, link: links })
  } catch {
    // Node does not take every link; the response itself may have it, too.
  }
}
