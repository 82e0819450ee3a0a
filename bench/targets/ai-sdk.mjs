// The AI SDK as its documentation shows it for a stream of one's own: createUIMessageStream, piped to the response.
// It writes its own UI message format: as much JSON for each event, shorter by the chunk's head.
import { createServer } from 'node:http'
import { createUIMessageStream, pipeUIMessageStreamToResponse } from 'ai'
import { readOutputs } from './qolaba-events.mjs'

const id = '0'

export const start = ({ upstreamPort }) =>
  createServer((request, response) => {
    request.resume()
    const stream = createUIMessageStream({
      async execute({ writer }) {
        writer.write({ type: 'text-start', id })
        for await (const outputs of readOutputs(upstreamPort, request.url)) {
          for (const output of outputs) {
            writer.write(
              output === null ? { type: 'text-end', id } : { type: 'text-delta', id, delta: output },
            )
          }
        }
      },
    })
    pipeUIMessageStreamToResponse({ response, stream })
  })
