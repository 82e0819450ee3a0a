// `pipe` by hand: read in paused mode, one write for each read. It keeps no promise either.
import { createServer } from 'node:http'
import { callUpstream, headers } from './call-upstream.mjs'
import { readPaused } from './read-paused.mjs'

export const start = ({ upstreamPort }) =>
  createServer(async (request, response) => {
    request.resume()
    const upstream = await callUpstream(upstreamPort, request.url)
    response.writeHead(200, headers)
    readPaused(upstream, response, (bytes) => response.write(bytes))
    upstream.on('end', () => response.end())
  })
