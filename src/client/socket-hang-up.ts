import { describeError, log } from '../diagnostics/channels.js'
import { toStreamError } from '../errors/classify.js'
import { type ErrorResponseOptions, respondWithError } from './error-response.js'
import type { StreamResponse } from './response.js'

/**
 * Whether an error says that the upstream closed the connection before its answer was complete, whichever
 * client reports it (`node:http`, axios, fetch, undici, got, node-fetch) and however deep in the cause chain.
 * Our own abort is none.
 */
export function isSocketHangUp(error: unknown): boolean {
  return toStreamError(error).outcome === 'upstream_hangup'
}

/**
 * Answers a client whose upstream hung up: 503 `connection_reset` with JSON while the head is unsent, the
 * dialect's error event and a clean end of the stream after it.
 *
 * @returns `false`, with nothing done, for an error that is no hang-up
 */
export function handleSocketHangUp(
  error: unknown,
  response: StreamResponse,
  options: ErrorResponseOptions = {},
): boolean {
  const reason = toStreamError(error)
  if (reason.outcome !== 'upstream_hangup') return false
  log.hangup('%s', describeError(reason.cause ?? reason))
  respondWithError(reason, response, options)
  return true
}
