import type { StreamContext } from '../../src/index.js'
import type { RouteStream } from '../../src/stream/route-stream.js'
import type { TimeoutCoordinator } from '../../src/timeouts/timeout-coordinator.js'

/** The whole clock of a stream, of which its handler sees only the `deadlines`. */
export function clockOf(stream: StreamContext): TimeoutCoordinator {
  return (stream as RouteStream).clock
}
