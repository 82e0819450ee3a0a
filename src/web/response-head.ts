import { errorHeaders, headersOfBody } from '../client/error-headers.js'
import { connectionNames, corsHeaders, eventStreamHead, withoutStream } from '../client/head.js'
import type { WriterSettings } from '../client/sse-writer-options.js'
import type { StreamDialect } from '../dialects/dialect.js'
import type { StreamError } from '../errors/stream-error.js'
import { framingOf } from '../framing/framings.js'
import type { WebSubject } from './subject.js'

/** The encodings that every `fetch` decodes by itself; it leaves the header. */
const decodedByFetch = /^(gzip|x-gzip|deflate|br)$/i

/** The kind of a response: `compressed` for an event stream that cannot be looked into. */
export function kindOf(response: Response, method: string | undefined): 'stream' | 'compressed' | 'other' {
  const { status, headers, url } = response
  const isGood = status >= 200 && status <= 299 && !withoutStream.includes(status) && method !== 'HEAD'
  if (!isGood || !framingOf(headers.get('content-type') ?? undefined) || response.body === null)
    return 'other'
  const encoding = headers.get('content-encoding') ?? ''
  if (encoding === '' || encoding === 'identity') return 'stream'
  // Only a response of `fetch` has a URL.
  return url !== '' && decodedByFetch.test(encoding) ? 'stream' : 'compressed'
}

/** The headers of an event stream, beside those that the app has set. */
export function streamHeaders(
  headers: Headers,
  { framing, requestId, headers: { origin } }: WebSubject,
  writer: WriterSettings,
): Headers {
  // Headers of one connection are the server's own affair, and HTTP/2 has none.
  for (const name of connectionNames) headers.delete(name)
  const existing = Object.fromEntries(headers)
  const { set, remove } = eventStreamHead({ existing, httpVersion: '2.0', origin, framing }, writer)
  for (const name of remove) headers.delete(name)
  withHeaders(headers, set)
  if (writer.headers !== false && !headers.has('x-request-id')) headers.set('x-request-id', requestId)
  return headers
}

/** Adds these to the headers of a response. */
export function withHeaders(headers: Headers, more: Readonly<Record<string, string>>): Headers {
  for (const [name, value] of Object.entries(more)) headers.set(name, value)
  return headers
}

/** Adds the headers that the app has prepared for any response, such as those for CORS, to an error. */
export function keepPrepared(error: Headers, prepared: Headers): void {
  if (prepared.has('x-request-id')) error.delete('x-request-id')
  const others = new Set([...error.keys(), ...headersOfBody, ...connectionNames, 'content-length'])
  for (const [name, value] of prepared) if (!others.has(name)) error.append(name, value)
}

/** The response for a client that has left: its server waits for one all the same. */
export function leftResponse(): Response {
  return new Response(null, { status: 499 })
}

/** A failure before the first event: status and JSON. */
export function errorResponse(
  reason: StreamError,
  message: string,
  subject: WebSubject,
  { dialect, writer }: { dialect: StreamDialect; writer: WriterSettings },
): Response {
  const { requestId, method } = subject
  const headers = new Headers(errorHeaders(reason))
  if (writer.headers !== false) {
    headers.set('x-request-id', requestId)
    withHeaders(headers, corsHeaders(subject.headers.origin, headers, writer.cors))
  }
  const body = JSON.stringify(dialect.errorBody(reason, message, requestId))
  return new Response(method === 'HEAD' ? null : body, { status: reason.status, headers })
}
