// The promises of unhang by hand, for one format: deadline, heartbeat, an error event at a bad end, a signal for the upstream,
// counts. What they cost at least: a failure before the head is not answered.
import { createServer } from 'node:http'
import { callUpstream, headers } from './call-upstream.mjs'
import { every } from './every.mjs'

export const failure = 'data: {"error":{"message":"The upstream hung up."}}\n\ndata: [DONE]\n\n'
export const inactivityMs = 60_000
export const heartbeatMs = 15_000

/**
 * @param makeEvents makes what `take`s the bytes of one stream, says what to send for them, and whether it `isComplete`
 * @param read hands on what comes, and waits while `send` says that the client does not keep up
 */
export const keepPromises =
  (makeEvents, read) =>
  ({ upstreamPort }) =>
    createServer(async (request, response) => {
      request.resume()
      const events = makeEvents()
      const record = { bytes: 0, longestGapMs: 0 }
      const controller = new AbortController()
      // What comes is written at once.
      let cameAt = performance.now()
      const fail = () => {
        if (!events.isComplete && !response.writableEnded) response.end(failure)
        controller.abort()
      }
      const lastAt = () => cameAt
      const deadline = every(inactivityMs, lastAt, fail)
      const heartbeat = every(heartbeatMs, lastAt, () => response.write(':\n'))
      response
        .on('error', () => {})
        .on('close', () => {
          deadline.stop()
          heartbeat.stop()
          controller.abort()
        })
      const upstream = await callUpstream(upstreamPort, request.url, { signal: controller.signal })
      response.writeHead(200, headers)
      read(upstream, response, (bytes) => {
        const now = performance.now()
        record.longestGapMs = Math.max(record.longestGapMs, now - cameAt)
        cameAt = now
        const out = events.take(bytes)
        record.bytes += out.length
        return out.length === 0 || response.writableEnded || response.write(out, 'latin1')
      })
      upstream.on('end', () => (events.isComplete ? response.end() : fail()))
      upstream.on('error', fail)
    })
