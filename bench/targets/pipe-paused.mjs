// `pipe` by hand: read in paused mode, one write for each read. It keeps no promise either.
import { createServer } from 'node:http'
import { callUpstream, headers } from './call-upstream.mjs'

export const start = ({ upstreamPort }) =>
  createServer(async (request, response) => {
    request.resume()
    const upstream = await callUpstream(upstreamPort, request.url)
    response.writeHead(200, headers)
    let isWaiting = false
    const read = () => {
      while (!isWaiting) {
        const bytes = upstream.read()
        if (bytes === null) return
        isWaiting = !response.write(bytes)
      }
    }
    response.on('drain', () => {
      isWaiting = false
      read()
    })
    upstream.on('readable', read)
    upstream.on('end', () => response.end())
  })
