import type { Server } from 'node:http'
import type { Http2SecureServer, Http2Server, ServerHttp2Session } from 'node:http2'
import { log, type StreamEnd } from '../diagnostics/channels.js'
import { checkNames } from '../errors/bad-input.js'
import { StreamError } from '../errors/stream-error.js'
import { processWide } from '../registry.js'
import { systemClock, type Timer, within } from '../timeouts/clock.js'
import { readDuration } from '../timeouts/options.js'
import { checkServer } from './align-timeouts.js'
import { liveStreams, sessionsOf, startDraining } from './live-streams.js'

/**
 * The options of {@link drainStreams}; times are in milliseconds.
 *
 * @example
 * await drainStreams(server, { noticeMs: 5_000, graceMs: 20_000 })
 */
export interface DrainOptions {
  /** How long to keep serving while the load balancer notices. @defaultValue `0` */
  noticeMs?: number | false | undefined
  /** How long open streams and other responses may take to finish. @defaultValue `10_000` */
  graceMs?: number | false | undefined
  /** How long clients may take to read the error event before they are cut. @defaultValue `5_000` */
  forceMs?: number | false | undefined
}

/** How the streams of a server ended that was shut down. */
export interface DrainReport {
  /** Streams that finished within `graceMs`. */
  finished: number
  /** Streams whose clients got an error event. */
  reported: number
  /** Streams that were cut, since their clients did not read the error event. */
  forced: number
}

/** A server of `node:http`, `node:https` or `node:http2`. */
export type DrainableServer = Server | Http2Server | Http2SecureServer

const drains = /* @__PURE__ */ processWide('drains', () => new WeakMap<object, Promise<DrainReport>>())

/**
 * Shuts a server down without cutting a stream.
 *
 * 1. Keeps serving for `noticeMs` while the load balancer notices.
 * 2. Stops accepting; new streams get 503.
 * 3. Gives open streams and other responses `graceMs` to finish.
 * 4. Sends the rest an error event; clients that do not read it are cut after `forceMs`.
 *
 * Later calls get the same report.
 *
 * @param server a server of `node:http`, `node:https` or `node:http2`; streams of other servers go on
 * @throws TypeError that names the option and the value
 * @example
 * process.once('SIGTERM', async () => {
 *   console.log(await drainStreams(server))
 *   process.exit()
 * })
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
  const open = new Set(streams)
  const report = { finished: 0, reported: 0, forced: 0 }
  const ended = streams.map(async (stream) => {
    const end = (await stream.ended) as Partial<StreamEnd> | undefined
    if (!open.delete(stream)) return
    // One that had all it needed, but for an end of its upstream, has finished.
    if (end?.outcome === 'shutdown') report.reported++
    else report.finished++
    // Its connection is idle from now on, and no other code would close it.
    setImmediate(() => closeIdle(server, open.size))
  })
  for (const stream of streams) stream.serverDrains?.()
  const stopSweeping = sweep(() => closeIdle(server, open.size))
  // Other responses under way, too: the end of the process would cut them. (HTTP/2 sessions end when their
  // clients see fit.)
  const isHttp1 = 'closeIdleConnections' in server
  await within(Promise.all([...ended, isHttp1 ? closed : undefined]), graceMs)
  const reason = new StreamError('shutdown')
  for (const stream of open) stream.stop(reason)
  await within(Promise.all(ended), forceMs)
  stopSweeping()
  report.forced = open.size
  for (const stream of open) stream.cut(reason)
  open.clear()
  log.drain('%d finished, %d reported, %d forced', report.finished, report.reported, report.forced)
  return report
}

/** HTTP/2 servers do not know their sessions; those that are open already have been seen by their requests. */
function watchSessions(server: DrainableServer): ReturnType<typeof sessionsOf> {
  const sessions = new Set(sessionsOf(server))
  server.on('session', (session: ServerHttp2Session) => sessions.add(session))
  return sessions
}

/**
 * Node takes a connection for idle whose response has been ended, though its client may still be reading it: as long as there
 * are streams, idle connections are left alone.
 */
function closeIdle(server: DrainableServer, streams: number): void {
  if (streams === 0 && 'closeIdleConnections' in server) server.closeIdleConnections()
}

const sweepEveryMs = 100

/** A connection that has served its last response is idle from then on, and Node would keep it. */
function sweep(closeNow: () => void): () => void {
  let timer: Timer
  const again = () => {
    closeNow()
    timer = systemClock.setTimeout(again, sweepEveryMs)
  }
  again()
  return () => systemClock.clearTimeout(timer)
}
