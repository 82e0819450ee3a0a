import { isUpstreamError, type StreamError } from './stream-error.js'

/** What a client may read of an error. */
export function clientMessage(reason: StreamError, exposeDetails = false): string {
  const detail = isUpstreamError(reason) ? reason.detail : undefined
  return exposeDetails && detail ? `${reason.message} ${detail}` : reason.message
}
