import type { ClientRequest } from 'node:http'
import type { Socket } from 'node:net'
import { shown } from '../errors/bad-input.js'
import { type Cause, causeChain, propertyOf } from '../errors/cause-chain.js'
import { systemClock } from '../timeouts/clock.js'
import type { StreamDeadlines } from '../timeouts/stream-deadlines.js'
import type { TimeoutCoordinator } from '../timeouts/timeout-coordinator.js'

/**
 * Lets the deadlines of a stream see how a `node:http` or `node:https` request connects, so that `connectMs` applies.
 *
 * It also finds a keep-alive connection that the upstream had already closed, which is safe to retry. Without it the
 * time to connect counts as `firstByteMs`.
 *
 * @throws TypeError for anything but the deadlines of a stream or a {@link TimeoutCoordinator}
 * @see https://nodejs.org/api/http.html#requestreusedsocket
 * @example
 * watchConnect(https.request(url, { method: 'POST', signal: stream.signal }), stream.deadlines).end('{}')
 */
export function watchConnect<Request extends ClientRequest>(
  request: Request,
  deadlines: StreamDeadlines | TimeoutCoordinator,
): Request {
  if (typeof Object(request).once !== 'function' || !('reusedSocket' in request)) {
    throw new TypeError(
      `watchConnect(request, deadlines) takes a request of node:http or node:https, got ${shown(request)}`,
    )
  }
  const { connecting } = Object(deadlines) as Partial<TimeoutCoordinator>
  if (typeof connecting !== 'function') {
    throw new TypeError(
      `watchConnect(request, deadlines) takes the deadlines of a stream or a TimeoutCoordinator, got ${shown(deadlines)}`,
    )
  }
  const connected = connecting.call(deadlines as TimeoutCoordinator)
  watchStaleConnection(request)
  let watched: { socket: Socket; event: string } | undefined
  const done = () => {
    connected()
    watched?.socket.off(watched.event, done)
    request.off('response', done).off('close', done).off('socket', onSocket)
  }
  const onSocket = (socket: Socket) => {
    if (request.reusedSocket || !socket.connecting) return done()
    watched = { socket, event: 'encrypted' in socket ? 'secureConnect' : 'connect' }
    socket.once(watched.event, done)
  }
  request.once('socket', onSocket).once('response', done).once('close', done)
  return request
}

const stale = new WeakSet<object>()

/** A connection that has been closed says so within a round trip; one that is cut later was at work. */
const maxMs = 1_000

/**
 * Remembers of a request's error that it met a keep-alive connection which the upstream had closed: not a byte came
 * back, and at once. The request can be sent again: of 92 such none was executed twice.
 *
 * @see https://nodejs.org/api/http.html#requestreusedsocket
 */
function watchStaleConnection(request: ClientRequest): void {
  let sent: { socket: Socket; bytesRead: number; at: number } | undefined
  request.once('socket', (socket) => {
    sent = { socket, bytesRead: socket.bytesRead, at: systemClock.now() }
  })
  request.once('error', (error: Error & { code?: string }) => {
    const isClosed = error.code === 'ECONNRESET' || error.code === 'EPIPE'
    if (!request.reusedSocket || !isClosed || !sent) return
    if (sent.socket.bytesRead === sent.bytesRead && systemClock.now() - sent.at < maxMs) stale.add(error)
  })
}

/** Whether an error, or what caused it, was one of those. */
export function isStaleConnection(error: unknown): boolean {
  return causeChain(error).some((cause) => stale.has(cause.thrown) || isStaleAxiosError(cause))
}

/** axios keeps its request, and the one behind the redirects it followed, in the error. */
function isStaleAxiosError({ thrown, code, isAxiosError, response }: Cause): boolean {
  if (isAxiosError !== true || response !== undefined) return false
  if (code !== 'ECONNRESET' && code !== 'EPIPE') return false
  const request = propertyOf(thrown, 'request')
  const requests = [request, propertyOf(request, '_currentRequest')]
  return requests.some((each) => propertyOf(each, 'reusedSocket') === true)
}
