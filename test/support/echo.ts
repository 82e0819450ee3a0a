import type { RawClient } from '../../src/testing/index.js'
import { listen } from './proxy.js'

/** An upstream that responds with the request that it was sent. */
export const startEcho = () =>
  listen(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const { method, url, rawHeaders, rawTrailers } = request
    response.setHeader('Content-Type', 'application/json')
    response.end(
      JSON.stringify({ method, url, rawHeaders, rawTrailers, body: Buffer.concat(chunks).toString() }),
    )
  })

/** A request, as its upstream saw it. */
export interface Echo {
  method: string
  url: string
  rawHeaders: string[]
  rawTrailers: string[]
  body: string
}

export const echoOf = ({ bodyText }: RawClient) => JSON.parse(bodyText) as Echo

/** The values of a header that may be repeated. */
export function headerOf({ rawHeaders }: Echo, name: string): string[] {
  return rawHeaders.filter(
    (_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === name.toLowerCase(),
  )
}
