import type { Server } from 'node:http'
import type { Http2SecureServer, Http2Server, ServerHttp2Session } from 'node:http2'
import { log } from '../diagnostics/channels.js'
import { checkNames } from '../errors/bad-input.js'
import { StreamError } from '../errors/stream-error.js'
import { processWide } from '../registry.js'
import { systemClock, type Timer, within } from '../timeouts/clock.js'
import { readDuration } from '../timeouts/options.js'
import { checkServer } from './align-timeouts.js'
import { liveStreams, sessionsOf, startDraining } from './live-streams.js'

/** How long each step of {@link drainStreams} takes, in milliseconds. */
export interface DrainOptions {
  /** How long to go on as before, until the load balancer has noticed. Default: not at all. */
  noticeMs?: number | false | undefined
  /** How long live streams may take to finish. Default 10 000. */
  graceMs?: number | false | undefined
  /** How long the clients of the rest may take to read that the server is shutting down. Default 5 000. */
  forceMs?: number | false | undefined
}

/** What became of the streams of a server that was shut down. */
export interface DrainReport {
  /** Streams that ended by themselves. */
  finished: number
  /** Streams whose clients got an error event. */
  reported: number
  /** Streams that were still there at the very end, and were cut. */
  forced: number
}

/** A server of `node:http`, `node:https` or `node:http2`. */
export type DrainableServer = Server | Http2Server | Http2SecureServer

const drains = /* @__PURE__ */ processWide('drains', () => new WeakMap<object, Promise<DrainReport>>())

/**
 * Shuts a server down without cutting a stream: new streams are refused with 503, live ones finish, the rest
 * are told in their dialect, and only what does not even read that is cut. Other answers under way may finish
 * within `graceMs` as well. Every call gets the same report.
 *
 * @param server a server of `node:http`, `node:https` or `node:http2`; of the streams of the process, those of
 *   other servers are left alone
 * @throws TypeError that names the option and the value
 */
export function drainStreams(server: DrainableServer, options: DrainOptions = {}): Promise<DrainReport> {
  checkServer('drainStreams', server)
  checkNames(options, { owner: 'options.', names: ['noticeMs', 'graceMs', 'forceMs'] })
  const known = drains().get(server)
  if (known) return known
  const { noticeMs: notice } = options
  const isNone = notice === undefined || notice === false || notice === 0
  const noticeMs = isNone ? 0 : readDuration('noticeMs', notice)
  const graceMs = readDuration('graceMs', options.graceMs ?? 10_000)
  const forceMs = readDuration('forceMs', options.forceMs ?? 5_000)
  const report = drain(server, noticeMs, graceMs, forceMs)
  drains().set(server, report)
  return report
}

async function drain(
  server: DrainableServer,
  noticeMs: number,
  graceMs: number,
  forceMs: number,
): Promise<DrainReport> {
  const sessions = watchSessions(server)
  if (noticeMs > 0) await within(new Promise(() => {}), noticeMs)
  startDraining(server)
  server.prependListener('request', (_request, response) => {
    // Before its head is sent, this is how Node is asked to say "Connection: close" itself.
    if ('shouldKeepAlive' in response) response.shouldKeepAlive = false
  })
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  for (const session of sessions) session.close()
  const streams = [...liveStreams()].filter((stream) => stream.server === server)
  log.drain('%d live streams', streams.length)
  let finished = 0
  const ended = streams.map(async (stream) => {
    await stream.ended
    finished++
    // Its connection is idle from now on, and nobody else would close it.
    setImmediate(() => closeIdle(server))
  })
  const stopSweeping = sweep(server)
  // Other answers under way, too: whoever ends the process next would cut them. (HTTP/2 sessions end when their
  // clients see fit.)
  const isHttp1 = 'closeIdleConnections' in server
  await within(Promise.all([...ended, isHttp1 ? closed : undefined]), graceMs)
  const report = { finished, reported: 0, forced: 0 }
  for (const stream of streams) stream.stop(new StreamError('shutdown'))
  await within(Promise.all(ended), forceMs)
  stopSweeping()
  report.reported = finished - report.finished
  report.forced = streams.length - finished
  if (report.forced > 0) closeAll(server, sessions)
  log.drain('%d finished, %d reported, %d forced', report.finished, report.reported, report.forced)
  return report
}

/** HTTP/2 servers do not know their sessions; those that are open already have been seen by their requests. */
function watchSessions(server: DrainableServer): ReturnType<typeof sessionsOf> {
  const sessions = new Set(sessionsOf(server))
  server.on('session', (session: ServerHttp2Session) => sessions.add(session))
  return sessions
}

function closeIdle(server: DrainableServer): void {
  if ('closeIdleConnections' in server) server.closeIdleConnections()
}

const sweepEveryMs = 100

/** A connection that has served its last answer is idle from then on, and Node would keep it. */
function sweep(server: DrainableServer): () => void {
  let timer: Timer
  const again = () => {
    closeIdle(server)
    timer = systemClock.setTimeout(again, sweepEveryMs)
  }
  again()
  return () => systemClock.clearTimeout(timer)
}

function closeAll(server: DrainableServer, sessions: ReturnType<typeof sessionsOf>): void {
  if ('closeAllConnections' in server) server.closeAllConnections()
  for (const session of sessions) session.destroy()
}
