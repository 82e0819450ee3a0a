// `minimal`, and the promises of unhang by hand: deadline, heartbeat, an error event at a bad end, a signal for the upstream,
// counts. All in one function and for this one format: what they cost at least. It loses a text with an escape in it.
import { createServer } from 'node:http'
import { callUpstream, headers } from './call-upstream.mjs'
import { finish, prefix, suffix } from './minimal.mjs'

const plain = /^data: \{"output": ?("[^"\\]+")\}$/
const failure = 'data: {"error":{"message":"The upstream hung up."}}\n\ndata: [DONE]\n\n'
const inactivityMs = 60_000
const heartbeatMs = 15_000

export const start = ({ upstreamPort }) =>
  createServer(async (request, response) => {
    request.resume()
    const record = { events: 0, bytes: 0, longestGapMs: 0 }
    const controller = new AbortController()
    let isComplete = false
    let cameAt = performance.now()
    let wroteAt = cameAt
    const fail = () => {
      if (!isComplete && !response.writableEnded) response.end(failure)
      controller.abort()
    }
    const deadline = every(inactivityMs, () => cameAt, fail)
    const heartbeat = every(
      heartbeatMs,
      () => wroteAt,
      () => response.write(':\n'),
    )
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
    let rest = ''
    upstream.on('data', (bytes) => {
      const now = performance.now()
      record.longestGapMs = Math.max(record.longestGapMs, now - cameAt)
      cameAt = wroteAt = now
      const lines = (rest + bytes.toString('latin1')).split('\n')
      rest = lines.pop()
      let out = ''
      for (const line of lines) {
        if (line === '') continue
        record.events++
        const written = plain.exec(line)?.[1]
        if (written) out += prefix + written + suffix
        else if (JSON.parse(line.slice(6)).output === null) {
          out += finish
          isComplete = true
        }
      }
      record.bytes += out.length
      if (out !== '' && !response.writableEnded && !response.write(out, 'latin1')) upstream.pause()
    })
    upstream.on('end', () => (isComplete ? response.end() : fail()))
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
