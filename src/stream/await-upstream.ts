import { propertyOf } from '../errors/cause-chain.js'
import type { StreamClock } from '../timeouts/stream-clock.js'
import { readFailure } from '../upstream/error-response.js'
import type { Upstreams } from '../upstream/opened.js'
import { warnOfOwnTimer } from '../upstream/own-timer.js'
import type { UpstreamSource } from '../upstream/source.js'

/** Waits for an upstream, which belongs to its stream from then on. */
export async function awaitUpstream(
  source: UpstreamSource | PromiseLike<UpstreamSource>,
  upstreams: Upstreams,
  clock: StreamClock,
): Promise<UpstreamSource> {
  const coming = Promise.resolve(source)
  // One that comes when the stream has stopped is let go at once; one that fails then is ignored.
  coming.then((upstream) => upstreams.adopt(upstream), ignore)
  try {
    const upstream = await clock.stopSignal.run(coming)
    warnOfOwnTimer(upstream)
    return upstream
  } catch (error) {
    const response = propertyOf(error, 'response')
    if (typeof response !== 'object' || response === null) throw error
    // A client that throws for a status has left the response unread.
    upstreams.adopt(response)
    throw await readFailure(error, { signal: clock.stopSignal, onChunk: () => clock.touch() })
  }
}

function ignore(): void {}
