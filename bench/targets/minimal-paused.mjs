// `minimal`, as cheap as we know how: read in paused mode, each byte a character, the text handed on as it was written. It
// keeps no promise either, and loses a text with an escape in it.
import { createServer } from 'node:http'
import { callUpstream, headers } from './call-upstream.mjs'
import { PlainTranslation } from './plain-translation.mjs'
import { readPaused } from './read-paused.mjs'

export const start = ({ upstreamPort }) =>
  createServer(async (request, response) => {
    request.resume()
    const upstream = await callUpstream(upstreamPort, request.url)
    response.writeHead(200, headers)
    const translation = new PlainTranslation()
    readPaused(upstream, response, (bytes) => {
      const out = translation.take(bytes)
      return out === '' || response.write(out, 'latin1')
    })
    upstream.on('end', () => response.end())
  })
