// `naive` behind a guard by hand, for this one format: deadline, heartbeat, an error event at a bad end, counts. What a guard costs
// a stream at least: it does not see what an upstream says of its own failure, sends no error before the head, and tells no client to
// stop.
import { createServer } from 'node:http'
import { performance } from 'node:perf_hooks'
import { every } from './every.mjs'
import { listener } from './naive.mjs'
import { failure, heartbeatMs, inactivityMs } from './promises-by-hand.mjs'
import { WholeEvents } from './whole-events.mjs'

export const start = ({ upstreamPort }) => {
  const handle = listener(upstreamPort)
  return createServer((request, response) => {
    const fail = guard(response)
    handle(request, response).catch(fail)
  })
}

function guard(response) {
  const { write, end } = response
  const events = new WholeEvents()
  const record = { bytes: 0, maxGapMs: 0 }
  let cameAt = performance.now()
  const fail = () => {
    if (!response.writableEnded) end.call(response, `${events.isBetween ? '' : '\n\n'}${failure}`)
  }
  const lastAt = () => cameAt
  const deadline = every(inactivityMs, lastAt, fail)
  const heartbeat = every(heartbeatMs, lastAt, () => {
    if (events.isBetween && response.headersSent && !response.writableEnded) write.call(response, ':\n')
  })
  response.write = (bytes) => {
    if (response.writableEnded) return false
    const now = performance.now()
    record.maxGapMs = Math.max(record.maxGapMs, now - cameAt)
    cameAt = now
    events.take(bytes)
    record.bytes += bytes.length
    return write.call(response, bytes)
  }
  response.end = () => (events.isComplete ? end.call(response) : fail())
  response
    .on('error', () => {})
    .on('close', () => {
      deadline.stop()
      heartbeat.stop()
    })
  return fail
}
