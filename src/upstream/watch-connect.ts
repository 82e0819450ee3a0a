import type { ClientRequest } from 'node:http'
import type { Socket } from 'node:net'
import type { TimeoutCoordinator } from '../timeouts/timeout-coordinator.js'
import { watchStaleConnection } from './stale-connection.js'

/**
 * Lets a stream's clock see how a `node:http(s)` request connects, so that an upstream that cannot be reached
 * is told from one that is slow to answer (`connectMs`), and a kept connection that has gone stale from an
 * upstream that hangs up. Without it the time counts as `firstByteMs`.
 *
 * @example watchConnect(https.request(url, { signal }), timeouts)
 */
export function watchConnect<Request extends ClientRequest>(
  request: Request,
  timeouts: Pick<TimeoutCoordinator, 'connecting'>,
): Request {
  const connected = timeouts.connecting()
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
