import type { Server } from 'node:http'
import pTimeout from 'p-timeout'
import { promiseTimers } from './clock.js'
import { log } from './diagnostics.js'
import { readDuration } from './duration.js'
import { StreamError } from './errors.js'
import { liveStreams, startDraining } from './live-streams.js'

export interface DrainOptions {
  /** How long to go on as before, until the load balancer has noticed. Default: not at all. */
  noticeMs?: number
  /** How long live streams may take to finish. Default 10 000. */
  graceMs?: number
  /** How long the clients of the rest may take to read that the server is shutting down. Default 5 000. */
  forceMs?: number
}

export interface DrainReport {
  /** Streams that ended by themselves. */
  finished: number
  /** Streams whose clients were told. */
  told: number
  /** Streams that were still there at the very end, and were cut. */
  forced: number
}

let running: Promise<DrainReport> | undefined

/**
 * Shuts a server down without cutting a stream: new streams are refused with 503, live ones finish, the rest
 * are told in their dialect, and only what does not even read that is cut. Every call gets the same report.
 *
 * @throws TypeError that names the option and the value
 */
export function drainStreams(server: Server, options: DrainOptions = {}): Promise<DrainReport> {
  const noticeMs = options.noticeMs ? readDuration('noticeMs', options.noticeMs) : 0
  const graceMs = readDuration('graceMs', options.graceMs ?? 10_000)
  const forceMs = readDuration('forceMs', options.forceMs ?? 5_000)
  running ??= drain(server, noticeMs, graceMs, forceMs)
  return running
}

async function drain(
  server: Server,
  noticeMs: number,
  graceMs: number,
  forceMs: number,
): Promise<DrainReport> {
  if (noticeMs > 0) await within(new Promise(() => {}), noticeMs)
  startDraining()
  server.prependListener('request', (_request, response) => {
    response.shouldKeepAlive = false
  })
  server.close()
  const streams = [...liveStreams()]
  log.drain('%d live streams', streams.length)
  let finished = 0
  const ended = streams.map(async (stream) => {
    await stream.ended
    finished++
    // Its connection is idle from now on, and nobody else would close it.
    setImmediate(() => server.closeIdleConnections())
  })
  server.closeIdleConnections()
  await within(Promise.all(ended), graceMs)
  const report = { finished, told: 0, forced: 0 }
  for (const stream of liveStreams()) stream.stop(new StreamError('shutdown'))
  await within(Promise.all(ended), forceMs)
  report.told = finished - report.finished
  report.forced = streams.length - finished
  if (report.forced > 0) server.closeAllConnections()
  log.drain('%d finished, %d told, %d forced', report.finished, report.told, report.forced)
  return report
}

function within(work: Promise<unknown>, limitMs: number): Promise<unknown> {
  return pTimeout(work, { milliseconds: limitMs, message: false, customTimers: promiseTimers })
}
