// The promises of unhang by hand, for one format: deadline, heartbeat, an error event at a bad end, a signal for the upstream,
// counts. Their minimal cost: a failure before the head gets no response, and a client that does not read counts as silence.
import { createServer } from 'node:http'
import { performance } from 'node:perf_hooks'
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
      const record = { bytes: 0, maxGapMs: 0 }
      const controller = new AbortController()
      // Each chunk is written at once.
      let cameAt = performance.now()
      const fail = () => {
        if (!response.writableEnded) response.end(events.isComplete ? undefined : failure)
        controller.abort()
      }
      const lastAt = () => cameAt
      const deadline = every(inactivityMs, lastAt, fail)
      const heartbeat = every(heartbeatMs, lastAt, () => {
        if (response.headersSent && !response.writableEnded && !response.writableNeedDrain)
          response.write(':\n')
      })
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
        record.maxGapMs = Math.max(record.maxGapMs, now - cameAt)
        cameAt = now
        if (response.writableEnded) return true
        try {
          const out = events.take(bytes)
          record.bytes += out.length
          return out.length === 0 || response.write(out, 'latin1')
        } catch {
          fail()
          return true
        }
      })
      upstream.on('end', () => (events.isComplete ? response.end() : fail()))
      upstream.on('error', fail)
    })
