import type { Framing } from '../framing/framing.js'
import { framingOf, framings } from '../framing/framings.js'

/** The facts of one exchange that decide its headers. */
export interface EventStreamExchange {
  /** The headers that the app has set so far; names in any case. */
  existing: Readonly<Record<string, number | string | readonly string[] | undefined>>
  httpVersion: string
  /** Whether Node will keep the socket open afterwards (`response.shouldKeepAlive`). */
  keepsAlive?: boolean | undefined
  /** The server's `keepAliveTimeout`. */
  keepAliveTimeoutMs?: number | undefined
  /** The client's `Origin`. */
  origin?: string | undefined
  /** Not set: server-sent events. */
  framing?: Framing | undefined
}

/** How the headers of an event stream are completed. */
export interface EventStreamHeadOptions {
  /** Headers of your own, which replace unhang's. `false`: unhang sets only `Content-Type`. @defaultValue `{}` */
  headers?: Readonly<Record<string, string>> | false | undefined
  /**
   * Cross-origin access: `true` for `*`, or a list of the allowed origins.
   *
   * @defaultValue `false`, which leaves what the app has set
   */
  cors?: boolean | readonly string[] | undefined
}

// An event stream is as long as it gets, and is written as it is: a length, a tag or an encoding that was copied from an
// upstream would be a lie.
/** Of one connection only. HTTP/2 has none of them: https://www.rfc-editor.org/rfc/rfc9113#section-8.2.2 */
export const connectionNames = [
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]
const transferEncoding = 'transfer-encoding'
const untrue = ['content-length', 'content-encoding', transferEncoding, 'etag']
/** Responses of which a client expects no body, or only a part of one. */
export const withoutStream = [204, 205, 206]

/**
 * The headers of an event stream, merged with those of the app: which to set and which to remove.
 *
 * `no-transform` keeps `compression()` from holding the stream back, `X-Accel-Buffering` does so for nginx.
 * `Connection` is left to Node on HTTP/1.1: written by hand, it costs the `Keep-Alive: timeout=N` hint, and
 * clients then reuse sockets that are being closed.
 *
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#server-sent-events-intro
 * @see https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering
 */
export function eventStreamHead(
  exchange: EventStreamExchange,
  { headers = {}, cors = false }: EventStreamHeadOptions = {},
): { set: Record<string, string>; remove: string[] } {
  const existing = new Map(
    Object.entries(exchange.existing).map(([name, value]) => [name.toLowerCase(), String(value)]),
  )
  const set: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers || {})) {
    set[name.toLowerCase()] = value
    existing.set(name.toLowerCase(), value)
  }
  const remove = untrue.filter((name) => existing.has(name))
  if (exchange.httpVersion === '1.1' && existing.has(transferEncoding)) {
    // A proxy that copies its upstream's headers: once this one is taken away, Node leaves out its own as well.
    set[transferEncoding] = 'chunked'
    remove.splice(remove.indexOf(transferEncoding), 1)
  }
  const type = existing.get('content-type')
  const { framing = framings.sse } = exchange
  if (framingOf(type)?.name !== framing.name) {
    set['content-type'] = framing.name === 'sse' ? `${framing.type}; charset=utf-8` : framing.type
  }
  if (!exchange.httpVersion.startsWith('1')) for (const name of connectionNames) delete set[name]
  if (headers === false) return { set, remove }

  set['cache-control'] = withNoTransform(existing.get('cache-control'))
  if (!existing.has('x-accel-buffering')) set['x-accel-buffering'] = 'no'
  if (!existing.has('x-content-type-options')) set['x-content-type-options'] = 'nosniff'
  Object.assign(set, corsHeaders(exchange.origin, existing, cors))
  if (exchange.httpVersion.startsWith('1')) Object.assign(set, connectionHeaders(exchange, existing))
  return { set, remove }
}

/** Adds `no-transform` to what the app has set, or to `no-cache`. */
export function withNoTransform(cacheControl: string | undefined): string {
  if (!cacheControl) return 'no-cache, no-transform'
  return /\bno-transform\b/i.test(cacheControl) ? cacheControl : `${cacheControl}, no-transform`
}

function connectionHeaders(
  { httpVersion, keepsAlive, keepAliveTimeoutMs }: EventStreamExchange,
  existing: Map<string, string>,
): Record<string, string> {
  if (httpVersion === '1.0') return { connection: 'close' }
  const written = existing.get('connection')
  if (written === undefined || /\bclose\b/i.test(written)) return {}
  // The app wrote keep-alive itself: Node now says neither "close" to a client that asked for it nor for how
  // long the socket stays open.
  if (keepsAlive === false) return { connection: 'close' }
  if (existing.has('keep-alive') || !keepAliveTimeoutMs) return {}
  return { 'keep-alive': `timeout=${Math.floor(keepAliveTimeoutMs / 1000)}` }
}

/** The headers that let a page of another origin read a response. */
export function corsHeaders(
  origin: string | undefined,
  existing: { get(name: string): unknown; has(name: string): boolean },
  cors: boolean | readonly string[] = false,
): Record<string, string> {
  if (cors === false || existing.has('access-control-allow-origin')) return {}
  if (cors === true) return { 'access-control-allow-origin': '*' }
  const vary = existing.get('vary')
  const headers: Record<string, string> = { vary: vary ? `${vary}, Origin` : 'Origin' }
  if (origin !== undefined && cors.includes(origin)) headers['access-control-allow-origin'] = origin
  return headers
}
