// `pipe`, and a signal that ends the upstream when the client leaves: the first promise, and what it costs by itself.
import { createServer } from 'node:http'
import { callUpstream, headers } from './call-upstream.mjs'

export const start = ({ upstreamPort }) =>
  createServer(async (request, response) => {
    request.resume()
    const controller = new AbortController()
    response.on('close', () => controller.abort())
    const upstream = await callUpstream(upstreamPort, request.url, { signal: controller.signal })
    response.writeHead(200, headers)
    upstream.on('error', () => {}).pipe(response)
  })
