// `minimal`, as cheap as we know how: read in paused mode, each byte a character, the text handed on as it was written. It
// keeps no promise either, and loses a text with an escape in it.
import { createServer } from 'node:http'
import { callUpstream, headers } from './call-upstream.mjs'
import { finish, prefix, suffix } from './minimal.mjs'
import { readPaused } from './read-paused.mjs'

const plain = /^data: \{"output": ?("[^"\\]+")\}$/

export const start = ({ upstreamPort }) =>
  createServer(async (request, response) => {
    request.resume()
    const upstream = await callUpstream(upstreamPort, request.url)
    response.writeHead(200, headers)
    let rest = ''
    readPaused(upstream, response, (bytes) => {
      const lines = (rest + bytes.toString('latin1')).split('\n')
      rest = lines.pop()
      let out = ''
      for (const line of lines) {
        if (line === '') continue
        const written = plain.exec(line)?.[1]
        if (written) out += prefix + written + suffix
        else if (JSON.parse(line.slice(6)).output === null) out += finish
      }
      return out === '' || response.write(out, 'latin1')
    })
  })
