// Without a library for the writing: eventsource-parser and one `response.write` for each event, with backpressure.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { headers } from './call-upstream.mjs'
import { chatData, readOutputs } from './qolaba-events.mjs'

export const start = ({ upstreamPort }) =>
  createServer(async (request, response) => {
    request.resume()
    response.writeHead(200, headers)
    for await (const outputs of readOutputs(upstreamPort, request.url)) {
      let more = true
      for (const output of outputs) {
        for (const data of chatData(output)) more = response.write(`data: ${data}\n\n`)
      }
      if (!more) await once(response, 'drain')
    }
    response.end()
  })
