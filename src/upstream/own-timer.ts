import { warnOnce } from '../diagnostics/channels.js'
import { propertyOf } from '../errors/cause-chain.js'

/**
 * Warns of an HTTP client whose own timer goes on running beside the stream's clock: the smaller one always wins,
 * and what it does looks like a hang-up.
 *
 * @param upstream what the client returned
 */
export function warnOfOwnTimer(upstream: unknown): void {
  const timeout = propertyOf(propertyOf(upstream, 'config'), 'timeout')
  if (typeof timeout === 'number' && timeout > 0) {
    warnOnce(
      `axios was called with a timeout of ${timeout} ms, which keeps counting during the stream and cuts it; ` +
        'pass timeout: 0 and the stream’s signal instead',
    )
  }
}
