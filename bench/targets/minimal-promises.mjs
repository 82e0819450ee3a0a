// `minimal`, and the promises of unhang by hand for this one format: deadline, heartbeat, an error event at a bad end, a signal
// for the upstream, counts. What they cost at least. It loses a text with an escape in it.
import { createServer } from 'node:http'
import { callUpstream, headers } from './call-upstream.mjs'
import { PlainTranslation } from './plain-translation.mjs'

const failure = 'data: {"error":{"message":"The upstream hung up."}}\n\ndata: [DONE]\n\n'
const inactivityMs = 60_000
const heartbeatMs = 15_000

export const start = ({ upstreamPort }) =>
  createServer(async (request, response) => {
    request.resume()
    const translation = new PlainTranslation()
    const record = { bytes: 0, longestGapMs: 0 }
    const controller = new AbortController()
    // What comes is written at once.
    let cameAt = performance.now()
    const fail = () => {
      if (!translation.isComplete && !response.writableEnded) response.end(failure)
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
    response.on('drain', () => upstream.resume())
    upstream.on('data', (bytes) => {
      const now = performance.now()
      record.longestGapMs = Math.max(record.longestGapMs, now - cameAt)
      cameAt = now
      const out = translation.translate(bytes)
      record.bytes += out.length
      if (out !== '' && !response.writableEnded && !response.write(out, 'latin1')) upstream.pause()
    })
    upstream.on('end', () => (translation.isComplete ? response.end() : fail()))
    upstream.on('error', fail)
  })

/** Calls back when so much time has gone by since the last sign of life. One timer, re-armed when it fires. */
function every(ms, lastAt, callback) {
  let timer
  const arm = () => {
    const leftMs = lastAt() + ms - performance.now()
    if (leftMs <= 0) callback()
    timer = setTimeout(arm, leftMs > 0 ? leftMs : ms).unref()
  }
  arm()
  return { stop: () => clearTimeout(timer) }
}
