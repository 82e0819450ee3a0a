import { channels, log } from '../diagnostics/channels.js'
import { describeError } from '../diagnostics/describe-error.js'
import { toStreamError } from '../errors/classify.js'
import { type StreamError, StreamTimeoutError } from '../errors/stream-error.js'
import type { UpstreamRetry } from '../upstream/retry-options.js'

export function logRetry(requestId: string, { attempt, error, delayMs }: UpstreamRetry): void {
  const spentMs = Math.round(delayMs)
  log.stream('%s: retry %d in %d ms, after %s', requestId, attempt, spentMs, () => describeError(error))
}

/** Why a stream did not complete; a deadline also on its own channel. */
export function logFailure(requestId: string, reason: StreamError): void {
  const { outcome, code } = reason
  log.stream('%s: %s, %s: %s', requestId, outcome, code, () => describeError(reason.cause ?? reason))
  if (!(reason instanceof StreamTimeoutError)) return
  const { phase, timeoutMs } = reason
  log.timeout('%s: %s after %d ms', requestId, phase, timeoutMs)
  channels.timeout.publish({ requestId, phase, timeoutMs })
}

/** An error that comes because the stream has stopped says nothing new. */
export function logLate(requestId: string, error: unknown, reason: StreamError | undefined): void {
  if (reason && (error === reason.cause || toStreamError(error).outcome !== 'internal')) return
  if (reason?.outcome === 'client_gone') {
    log.stream('%s: the handler stopped after the client had left', requestId)
  } else
    log.stream('%s: the handler failed after the stream had ended: %s', requestId, () => describeError(error))
}
