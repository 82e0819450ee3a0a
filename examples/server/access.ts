import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Settings } from './environment.js'
import { openAIError } from './openai-error.js'

/** The clients that may call. A key of the operator must be spent neither by strangers nor by web pages. */
export class Access {
  /** The origins whose pages may call, besides the proxy's own; as `cors` takes them. */
  readonly origins: '*' | string[]
  readonly #operatorKey: string | undefined
  readonly #proxyKey: string | undefined

  constructor({ apiKey, proxyKey, allowOrigin }: Pick<Settings, 'apiKey' | 'proxyKey' | 'allowOrigin'>) {
    // Without a key of the operator each client spends its own.
    this.origins = allowOrigin ?? (apiKey === undefined ? '*' : [])
    this.#operatorKey = apiKey
    this.#proxyKey = proxyKey
  }

  /** The value of `access-control-allow-origin` for a page of an origin; `''` if it must not call. */
  allowedOrigin(origin: string): string {
    if (this.origins === '*') return '*'
    return this.origins.includes(origin) ? origin : ''
  }

  /**
   * That a page cannot read a response does not keep it from sending the request.
   *
   * @throws an error with status 403
   */
  checkOrigin({ headers: { origin, host } }: IncomingMessage): void {
    if (origin === undefined || this.allowedOrigin(origin) !== '') return
    const isOwn = URL.canParse(origin) && new URL(origin).host === host?.toLowerCase()
    // Any page is, once it has its own name resolved to 127.0.0.1 (DNS rebinding).
    if (isOwn && (this.#proxyKey !== undefined || isLocalName(host))) return
    throw openAIError(403, 'Pages of this origin may not call the proxy; name it in ALLOW_ORIGIN.')
  }

  /** @throws an error with status 401 or 403 */
  checkClient(request: IncomingMessage): void {
    if (this.#proxyKey !== undefined) {
      if (isSame(bearerKey(request) ?? '', this.#proxyKey)) return
      throw openAIError(401, 'The key is missing or wrong: send Authorization: Bearer with the PROXY_KEY.')
    }
    if (this.#operatorKey === undefined || isLocal(request)) return
    throw openAIError(403, 'Only clients on this machine are served; set PROXY_KEY to serve others.')
  }

  /** @throws an error with status 403 */
  checkLocal(request: IncomingMessage): void {
    // A page may get without saying its origin.
    if (!isLocal(request) || !isLocalName(request.headers.host))
      throw openAIError(403, 'Only clients on this machine may read this.')
  }
}

export function bearerKey({ headers }: IncomingMessage): string | undefined {
  return /^Bearer +(\S+)/i.exec(headers.authorization ?? '')?.[1]
}

/** Whether a request comes from this machine itself. */
function isLocal({ socket, headers }: IncomingMessage): boolean {
  const isLoopback = /^(::1|(::ffff:)?127\.[\d.]+)$/.test(socket.remoteAddress ?? '')
  // A proxy on this machine, or a tunnel, calls for another client.
  const isForwarded = ['forwarded', 'x-forwarded-for', 'x-real-ip'].some((name) => name in headers)
  return isLoopback && !isForwarded
}

function isLocalName(host = ''): boolean {
  return /^(localhost|127\.[\d.]+|\[::1\])(:\d+)?$/i.test(host)
}

/** Takes as long for a wrong key as for the right one: of hashes, which have one length. */
function isSame(given: string, key: string): boolean {
  const [first, second] = [given, key].map((text) => createHash('sha256').update(text).digest())
  return timingSafeEqual(first as Buffer, second as Buffer)
}
