// The floor of passing through: `upstream.pipe(response)`. It keeps no promise.
import { createServer } from 'node:http'
import { callUpstream, headers } from './call-upstream.mjs'

export const start = ({ upstreamPort }) =>
  createServer(async (request, response) => {
    request.resume()
    const upstream = await callUpstream(upstreamPort, request.url)
    response.writeHead(200, headers)
    upstream.pipe(response)
  })
