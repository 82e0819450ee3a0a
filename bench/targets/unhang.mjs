import { createServer } from 'node:http'
import { handleStream } from 'unhang'
import { callUpstream } from './call-upstream.mjs'
import { toChunk } from './to-chunk.mjs'

/** A server that fills each stream in one of the ways of unhang. */
export const serve =
  (fill, options) =>
  ({ upstreamPort }) =>
    createServer((request, response) => {
      handleStream(
        response,
        (stream) => fill(stream, callUpstream(upstreamPort, request.url, { signal: stream.signal })),
        options,
      )
    })

export const translate = serve((stream, upstream) => stream.relay(upstream, toChunk))
export const passThrough = serve((stream, upstream) => stream.relay(upstream))
export const forAwait = serve(async (stream, upstream) => {
  for await (const event of stream.read(upstream)) {
    const chunks = toChunk(event)
    if (!Array.isArray(chunks)) await stream.writer.write(chunks)
    else for (const each of chunks) await stream.writer.write(each)
  }
})

/** With a heartbeat and three deadlines, none of them due while an idle stream is watched. */
export const clock = serve((stream, upstream) => stream.relay(upstream), {
  timeouts: { inactivityMs: 100_000, upstreamStallMs: 110_000, totalMs: 300_000 },
  writer: { heartbeatMs: 120_000 },
})
