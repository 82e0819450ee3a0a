// The handler of most tutorials, on any upstream.
import { createServer } from 'node:http'
import { callUpstream, headers } from './call-upstream.mjs'

export const listener = (upstreamPort) => async (request, response) => {
  request.resume()
  const upstream = await callUpstream(upstreamPort, request.url)
  response.writeHead(200, headers)
  for await (const chunk of upstream) response.write(chunk)
  response.end()
}

export const start = ({ upstreamPort }) => createServer(listener(upstreamPort))
