import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { errorType } from '../../dialects/plain.js'
import { isLoopback } from './loopback.js'
import type { ProxySettings } from './settings.js'

/** Why a request is not forwarded. */
export interface Refusal {
  readonly status: number
  readonly code: string
  readonly message: string
}

/** Where the clients of the APIs put their keys. */
const keyHeaders = ['authorization', 'x-api-key', 'api-key', 'x-goog-api-key'] as const

/** Why this proxy does not forward a request; `undefined` if it does. */
export function refusalOf(request: IncomingMessage, settings: ProxySettings): Refusal | undefined {
  const { url = '' } = request
  if (!url.startsWith('/')) {
    const message = 'This is a proxy for one upstream. Send the path alone, such as /v1/models.'
    return { status: 400, code: 'invalid_target', message }
  }
  if (settings.key !== undefined) {
    if (isKeySent(request, settings.key)) return undefined
    const message = 'Send the key of this proxy, as Authorization: Bearer KEY.'
    return { status: 401, code: 'invalid_api_key', message }
  }
  if (settings.headers.length === 0 || isFromHere(request, settings)) return undefined
  const message = 'Pages of this origin may not use the proxy. Start it with --cors ORIGIN.'
  return { status: 403, code: 'origin_not_allowed', message }
}

/** Headers that hold the key of the proxy, which its upstream must not see. */
export function keyHeadersOf(request: IncomingMessage, { key }: ProxySettings): string[] {
  if (key === undefined) return []
  return keyHeaders.filter((name) => isKey(request.headers[name], key))
}

/** The path and query without the key of the proxy, which Gemini's clients may put there. */
export function targetOf(url: string, { upstream, key }: ProxySettings): string {
  const target = upstream.pathname.replace(/\/$/, '') + url
  if (key === undefined || !target.includes('?')) return target
  const at = target.indexOf('?')
  const query = target
    .slice(at + 1)
    .split('&')
    .filter((part) => !isKeyPart(part, key))
  return target.slice(0, at) + (query.length > 0 ? `?${query.join('&')}` : '')
}

function isKeySent({ headers, url = '' }: IncomingMessage, key: string): boolean {
  if (keyHeaders.some((name) => isKey(headers[name], key))) return true
  const query = url.includes('?') ? url.slice(url.indexOf('?') + 1) : ''
  return query.split('&').some((part) => isKeyPart(part, key))
}

function isKeyPart(part: string, key: string): boolean {
  if (!part.startsWith('key=')) return false
  return isEqual(new URLSearchParams(part).get('key') ?? '', key)
}

function isKey(value: string | string[] | undefined, key: string): boolean {
  return typeof value === 'string' && isEqual(value.replace(/^Bearer +/i, ''), key)
}

/** In a time that does not show how much of it is right. */
function isEqual(given: string, key: string): boolean {
  const [one, other] = [given, key].map((text) => createHash('sha256').update(text).digest())
  return timingSafeEqual(one as Buffer, other as Buffer)
}

/**
 * Whether a request does not come from a page of another site: such a page would spend the operator's money. A client that
 * is not a browser sends no origin. A host name of another machine that leads here nevertheless is a trick of such a page.
 */
function isFromHere({ headers }: IncomingMessage, { cors, host }: ProxySettings): boolean {
  const { origin } = headers
  if (cors.includes('*') || (origin !== undefined && cors.includes(origin))) return true
  if (headers.host !== undefined && isLoopback(host) && !isLoopback(nameOf(headers.host))) return false
  if (origin === undefined) return headers['sec-fetch-site'] !== 'cross-site'
  const page = URL.canParse(origin) ? new URL(origin) : undefined
  // Apps have schemes of their own.
  return page !== undefined && (!page.protocol.startsWith('http') || isLoopback(page.hostname))
}

function nameOf(host: string): string {
  return host.replace(/:\d+$/, '')
}

/** Lets pages of other origins read a response. */
export function allowOrigin(
  request: IncomingMessage,
  response: ServerResponse,
  { cors }: ProxySettings,
): void {
  if (cors.length === 0) return
  const { origin } = request.headers
  if (!cors.includes('*')) response.setHeader('Vary', 'Origin')
  if (cors.includes('*')) response.setHeader('Access-Control-Allow-Origin', '*')
  else if (origin !== undefined && cors.includes(origin))
    response.setHeader('Access-Control-Allow-Origin', origin)
  else return
  response.setHeader('Access-Control-Expose-Headers', '*')
}

/** Responds to the preflight request of a browser on another origin. A preflight cannot carry a key. */
export function answerPreflight(
  { method, headers }: IncomingMessage,
  response: ServerResponse,
  { cors }: ProxySettings,
): boolean {
  const asked = headers['access-control-request-method']
  if (cors.length === 0 || method !== 'OPTIONS' || asked === undefined) return false
  response.setHeader('Access-Control-Allow-Methods', asked)
  const names = headers['access-control-request-headers']
  if (names !== undefined) response.setHeader('Access-Control-Allow-Headers', names)
  if (headers['access-control-request-private-network'] !== undefined)
    response.setHeader('Access-Control-Allow-Private-Network', 'true')
  response.setHeader('Access-Control-Max-Age', '600')
  response.writeHead(204).end()
  return true
}

/** The error that a refused client reads, as the OpenAI API writes it. */
export function refusalBody({ status, code, message }: Refusal): string {
  return JSON.stringify({ error: { message, type: errorType(status), param: null, code } })
}
