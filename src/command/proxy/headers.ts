import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { connectionNames } from '../../client/head.js'
import { isLoopback } from './loopback.js'

/** A header as it stands on the wire. */
export type Header = readonly [name: string, value: string]

/** Of one connection only: https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1 */
const hopByHop = new Set([
  ...connectionNames,
  'te',
  'proxy-authenticate',
  'proxy-authorization',
  'http2-settings',
])

/** The headers of a message that are not of its connection alone, in their order and their case. */
export function endToEnd({ rawHeaders, headers }: Pick<IncomingMessage, 'rawHeaders' | 'headers'>): Header[] {
  const named = new Set((headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase()))
  return headersIn(rawHeaders).filter(([name]) => {
    const lower = name.toLowerCase()
    // A message whose "Connection" names these would lose what says where it ends, or whose it is.
    const isKept = !named.has(lower) || ['host', 'content-length', 'authorization'].includes(lower)
    return isKept && !hopByHop.has(lower)
  })
}

/** The contents of `rawHeaders` and `rawTrailers`, in pairs. */
export function headersIn(raw: readonly string[]): [name: string, value: string][] {
  return Array.from({ length: raw.length / 2 }, (_, at) => [raw[2 * at] as string, raw[2 * at + 1] as string])
}

/** The changes that a proxy makes to a request's headers. */
export interface HeaderChanges {
  /** Of the upstream. */
  readonly host: string
  /** The operator's, which replace those of the client. */
  readonly set: readonly Header[]
  /** Names, in lower case, that the upstream must not see. */
  readonly drop: readonly string[]
}

/** The headers of a request as its upstream gets them. */
export function requestHeaders(
  request: IncomingMessage,
  { host, set, drop }: HeaderChanges,
): OutgoingHttpHeaders {
  const taken = new Map<string, [string, string | string[]]>()
  const put = (name: string, value: string) => taken.set(name.toLowerCase(), [name, value])
  const isChunked = request.headers['transfer-encoding'] !== undefined
  const without = new Set([...drop, ...set.map(([name]) => name.toLowerCase())])
  if (!isChunked) without.add('trailer')
  for (const [name, value] of endToEnd(request)) {
    const lower = name.toLowerCase()
    if (without.has(lower)) continue
    const before = taken.get(lower)
    taken.set(lower, before ? [before[0], [before[1], value].flat()] : [name, value])
  }
  put('Host', host)
  for (const [name, value] of forwarded(request)) put(name, value)
  if (/\btrailers\b/i.test(String(request.headers.te))) put('TE', 'trailers')
  // A body of unknown length: Node takes the header away with its connection's, and has to be asked to write one of its own.
  if (isChunked) put('Transfer-Encoding', 'chunked')
  for (const [name, value] of set) put(name, value)
  return Object.fromEntries(taken.values())
}

/** Where the request came from. Only a proxy on this machine is believed what it says of that. */
function forwarded({ headers, socket }: IncomingMessage): Header[] {
  const address = (socket.remoteAddress ?? '').replace(/^::ffff:/, '')
  const given = isLoopback(address) ? headers : {}
  const before = given['x-forwarded-for']
  const { host = '' } = headers
  return [
    ['X-Forwarded-For', before ? `${before}, ${address}` : address],
    ['X-Forwarded-Proto', String(given['x-forwarded-proto'] ?? 'http')],
    ['X-Forwarded-Host', String(given['x-forwarded-host'] ?? host)],
  ]
}

/** Sets an upstream's status and headers, unless they have been sent. */
export function copyHead(
  answer: IncomingMessage,
  response: ServerResponse,
  drop: readonly string[] = [],
): void {
  if (response.headersSent) return
  const without = endsWithTrailers(answer, response) ? drop : [...drop, 'trailer']
  const values = new Map<string, [string, string | string[]]>()
  for (const [name, value] of endToEnd(answer)) {
    const lower = name.toLowerCase()
    if (lower === 'vary' && response.hasHeader('vary')) {
      response.setHeader('Vary', `${response.getHeader('vary')}, ${value}`)
      continue
    }
    // Those that are set already are the proxy's own, but for the id: that of the upstream is worth more.
    if (without.includes(lower) || (lower !== 'x-request-id' && response.hasHeader(lower))) continue
    const before = values.get(lower)
    values.set(lower, before ? [before[0], [before[1], value].flat()] : [name, value])
  }
  for (const [name, value] of values.values()) response.setHeader(name, value)
  response.statusCode = answer.statusCode ?? 502
  response.statusMessage = answer.statusMessage ?? ''
}

/** Whether a response may end with trailers. Node throws for a head that announces them for a body that is not in chunks. */
function endsWithTrailers({ headers, statusCode = 0 }: IncomingMessage, response: ServerResponse): boolean {
  const hasBody = response.req.method !== 'HEAD' && statusCode !== 204 && statusCode !== 304
  return hasBody && headers['transfer-encoding'] !== undefined && response.useChunkedEncodingByDefault
}
