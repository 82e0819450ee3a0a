import type { StreamError } from '../errors/stream-error.js'
import type { SSEEvent } from '../framing/sse/encode.js'
import { jsonOf, type StreamDialect } from './dialect.js'

/** The error object of the OpenAI API, which most clients of any API can read. */
export function openaiError(error: StreamError, message: string) {
  return { message, type: errorType(error.status), param: null, code: error.code }
}

/** The kind of error that the OpenAI API calls this status. */
export function errorType(status: number): string {
  if (status === 401) return 'authentication_error'
  if (status === 403) return 'permission_error'
  if (status === 429) return 'rate_limit_error'
  return status >= 500 || status === 499 ? 'server_error' : 'invalid_request_error'
}

/** The body of an error that is reported by status. */
export function openaiErrorBody(error: StreamError, message: string, requestId?: string): object {
  return { error: openaiError(error, message), ...(requestId ? { request_id: requestId } : {}) }
}

/** Any event stream: it is complete when it ends; an event named `error` reports to its client that it failed. */
export const plain: StreamDialect = {
  name: 'plain',
  needsTerminal: false,
  errorBody: openaiErrorBody,
  follow: () => {
    let begun = false
    return {
      // Only where the first answer should be: later an app may call its own events what it likes.
      observe(event) {
        const isError = !begun && reportsError(event)
        begun = true
        return isError ? 'error' : 'content'
      },
      complete: false,
      closing: () => [],
      // SDKs of OpenAI throw for `error`, under any event name; others read `message` and `code`.
      failing: (error, message) => [
        { event: 'error', data: { error: openaiError(error, message), message, code: error.code } },
      ],
    }
  },
}

function reportsError({ event, data }: SSEEvent): boolean {
  if (event === 'error') return true
  const mayBeError = typeof data !== 'string' || data.includes('"error"')
  return mayBeError && Boolean(jsonOf(data)?.error)
}
