import type { IncomingHttpHeaders, ServerResponse } from 'node:http'

/** Whether a request id may be written to logs and headers. */
export function isPlainId(id: unknown): id is string {
  return typeof id === 'string' && /^[\w.-]{1,128}$/.test(id)
}

/** The client's request id, if it is one that may be written to logs and headers. */
export function givenRequestId(request: { headers: IncomingHttpHeaders } | undefined): string | undefined {
  const given = request?.headers['x-request-id']
  return given !== undefined && isPlainId(given) ? given : undefined
}

/** The client's request id, or a new one. */
export function requestIdOf(response: ServerResponse): string {
  return givenRequestId(response.req) ?? crypto.randomUUID()
}

/** Names the request in the response's headers, unless the app has done so. */
export function setRequestId(response: ServerResponse, requestId: string): void {
  if (!response.headersSent && !response.hasHeader('x-request-id'))
    response.setHeader('x-request-id', requestId)
}
