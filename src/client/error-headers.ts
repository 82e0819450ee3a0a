import type { StreamError } from '../errors/stream-error.js'
import { isUpstreamError } from '../errors/upstream-error.js'

/** Headers that an app has prepared for another response, and that are not true of an error. */
export const headersOfBody = ['content-encoding', 'transfer-encoding', 'trailer', 'etag', 'last-modified']

/** The headers of an error that is reported by status and JSON. */
export function errorHeaders(reason: StreamError): Record<string, string> {
  const upstream = isUpstreamError(reason) ? reason : undefined
  const retryAfter = upstream?.retryAfter || reason.retryAfterSeconds
  return {
    'content-type': 'application/json; charset=utf-8',
    'cache-control': 'no-store',
    ...(retryAfter && { 'retry-after': String(retryAfter) }),
    ...(upstream?.retryAfterMs && { 'retry-after-ms': upstream.retryAfterMs }),
    ...(reason.retryable !== undefined && { 'x-should-retry': String(reason.retryable) }),
  }
}
