import type { ClientRequest } from 'node:http'

const stale = new WeakSet<object>()

/**
 * Remembers of a request's error that it met a kept connection which the upstream had closed: the request was
 * never read, and can be sent again without harm.
 *
 * @see https://nodejs.org/api/http.html#requestreusedsocket
 */
export function watchStaleConnection(request: ClientRequest): void {
  let answered = false
  request.once('response', () => {
    answered = true
  })
  request.once('error', (error: Error & { code?: string }) => {
    const closed = error.code === 'ECONNRESET' || error.code === 'EPIPE'
    if (request.reusedSocket && !answered && closed) stale.add(error)
  })
}

/** Whether an error, or what caused it, was one of those. */
export function isStaleConnection(error: unknown): boolean {
  let link = error
  for (let depth = 0; depth < 8 && typeof link === 'object' && link !== null; depth++) {
    if (stale.has(link) || isStaleAxiosError(link)) return true
    link = (link as { cause?: unknown }).cause
  }
  return false
}

/** axios keeps its request, and the one behind the redirects it followed, in the error. */
function isStaleAxiosError(link: object): boolean {
  const { isAxiosError, code, request, response } = link as {
    isAxiosError?: boolean
    code?: string
    request?: { reusedSocket?: boolean; _currentRequest?: { reusedSocket?: boolean } }
    response?: unknown
  }
  if (isAxiosError !== true || response !== undefined || (code !== 'ECONNRESET' && code !== 'EPIPE'))
    return false
  return request?.reusedSocket === true || request?._currentRequest?.reusedSocket === true
}
