// What tutorials do: fetch, and `for await` over its body, with backpressure.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { headers } from './call-upstream.mjs'

export const start = ({ upstreamPort }) =>
  createServer(async (request, response) => {
    request.resume()
    const upstream = await fetch(`http://127.0.0.1:${upstreamPort}${request.url}`, { method: 'POST' })
    response.writeHead(200, headers)
    for await (const chunk of upstream.body) {
      if (!response.write(chunk)) await once(response, 'drain')
    }
    response.end()
  })
