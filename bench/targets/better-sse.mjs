// better-sse as its README shows it: a session for each response, one push for each event, which does the JSON.
import { createServer } from 'node:http'
import { createSession } from 'better-sse'
import { chatChunks, readOutputs } from './qolaba-events.mjs'

export const start = ({ upstreamPort }) =>
  createServer(async (request, response) => {
    request.resume()
    const session = await createSession(request, response)
    for await (const outputs of readOutputs(upstreamPort, request.url)) {
      for (const output of outputs) {
        for (const chunk of chatChunks(output)) session.push(chunk)
      }
    }
    response.end()
  })
