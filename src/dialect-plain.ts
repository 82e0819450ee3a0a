import type { StreamError } from './errors.js'
import type { StreamDialect } from './stream-dialect.js'

/** The error object of the OpenAI API, which most clients of any API can read. */
export function openaiError(error: StreamError, message: string) {
  return { message, type: errorType(error.status), param: null, code: error.code }
}

function errorType(status: number): string {
  if (status === 401) return 'authentication_error'
  if (status === 403) return 'permission_error'
  if (status === 429) return 'rate_limit_error'
  return status >= 500 || status === 499 ? 'server_error' : 'invalid_request_error'
}

/** Any event stream: it is complete when it ends, and an event named `error` says that it failed. */
export const plain: StreamDialect = {
  name: 'plain',
  needsTerminal: false,
  errorBody: (error, message, requestId) => ({
    error: openaiError(error, message),
    ...(requestId ? { request_id: requestId } : {}),
  }),
  follow: () => ({
    observe: () => 'content',
    complete: false,
    closing: () => [],
    failing: (error, message) => [{ event: 'error', data: { message, code: error.code } }],
  }),
}
