// The floor: lines found by hand, JSON.parse, a template, one write for each read. It keeps no promise.
import { createServer } from 'node:http'
import { StringDecoder } from 'node:string_decoder'
import { callUpstream, headers } from './call-upstream.mjs'

export const prefix =
  'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1,"model":"bench","choices":[{"index":0,"delta":{"content":'
export const suffix = '},"finish_reason":null}]}\n\n'
export const finish =
  'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1,"model":"bench","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'

export const start = ({ upstreamPort }) =>
  createServer(async (request, response) => {
    request.resume()
    const upstream = await callUpstream(upstreamPort, request.url)
    response.writeHead(200, headers)
    const decoder = new StringDecoder('utf8')
    let rest = ''
    upstream.on('data', (bytes) => {
      const lines = (rest + decoder.write(bytes)).split('\n')
      rest = lines.pop()
      let out = ''
      for (const line of lines) {
        if (!line.startsWith('data: ')) continue
        const { output } = JSON.parse(line.slice(6))
        out += output === null ? finish : prefix + JSON.stringify(output) + suffix
      }
      if (out !== '' && !response.write(out)) {
        upstream.pause()
        response.once('drain', () => upstream.resume())
      }
    })
    upstream.on('end', () => response.end())
  })
