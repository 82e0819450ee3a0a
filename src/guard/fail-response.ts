import { log } from '../diagnostics/channels.js'
import { describeError, describeTrace } from '../diagnostics/describe-error.js'
import { toStreamError } from '../errors/classify.js'
import type { StreamError } from '../errors/stream-error.js'
import { clientMessage } from '../errors/upstream-error.js'
import type { GuardOutput } from './event-output.js'
import type { WatchedResponse } from './handle.js'

/**
 * Ends a response whose handler has failed and that was not going to be a stream. It has no record, so it needs no exchange;
 * nothing else would respond.
 */
export function failResponse(
  output: GuardOutput,
  { subject, settings }: WatchedResponse,
  release: (reason: StreamError) => void,
  reason: StreamError,
): void {
  const { requestId } = subject
  const { outcome, code } = reason
  log.stream('%s: %s, %s: %s', requestId, outcome, code, () => describeError(reason.cause ?? reason))
  output.stop(reason)
  release(reason)
  if (!output.gone && !settings.reportsErrors) output.destroy(reason)
  else if (!output.gone) {
    try {
      output.respond(reason, clientMessage(reason, settings.exposeUpstreamErrors))
    } catch (failure) {
      output.destroy(toStreamError(failure))
    }
  }
  // Without us this would have ended the process, with a trace: it must not go unseen.
  if (outcome === 'internal')
    console.error('unhang: %s: the handler failed: %s', requestId, describeTrace(reason.cause ?? reason))
  void output.flushed()
}
