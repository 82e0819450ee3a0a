import { connect as connectPlain } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { systemClock, within } from '../clock.js'
import { RawClient, type RawRequest } from '../testing/raw-client.js'

export interface EndpointOptions {
  /** Sent as `Authorization: Bearer …`. */
  key?: string | undefined
  /** Default: the first one that `/models` names. */
  model?: string | undefined
  /** How long one answer may take. */
  limitMs: number
}

/** An answer that has come, and the connection that it came over. */
export interface Answer {
  client: RawClient
  /** From the request to its end, in milliseconds. */
  durationMs: number
  /** It was still going on when its time was over. */
  isLate: boolean
  /** What is wrong with its chunks. */
  fault: Error | undefined
}

/** An OpenAI-compatible endpoint, asked over raw connections: what is wrong is in the bytes, and HTTP clients hide it. */
export class Endpoint {
  readonly url: URL
  model = 'default'
  readonly #options: EndpointOptions

  /** @throws TypeError for what is no URL of HTTP */
  constructor(url: string, options: EndpointOptions) {
    const isHttp = URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)
    if (!isHttp)
      throw new TypeError(`URL must be one of http or https, say http://127.0.0.1:3000/v1, got ${url}`)
    this.url = new URL(url.replace(/(\/chat\/completions)?\/?$/, ''))
    this.#options = options
    if (options.model !== undefined) this.model = options.model
  }

  connect(): RawClient {
    const { hostname, port, protocol } = this.url
    const isTls = protocol === 'https:'
    const to = { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || (isTls ? 443 : 80)) }
    return new RawClient(isTls ? connectTls({ ...to, servername: to.host }) : connectPlain(to))
  }

  /** Sends one request below the endpoint's path. */
  send(client: RawClient, path: string, request: Omit<RawRequest, 'port' | 'path'>): void {
    const { key } = this.#options
    const headers = {
      Host: this.url.host,
      'User-Agent': 'unhang-doctor',
      ...(key === undefined ? {} : { Authorization: `Bearer ${key}` }),
      ...request.headers,
    }
    client.send({ ...request, headers, path: this.url.pathname.replace(/\/$/, '') + path })
  }

  /** Sends one request, by default on a connection of its own, and waits for its answer. */
  async ask(
    path: string,
    request: Omit<RawRequest, 'port' | 'path'>,
    client = this.connect(),
  ): Promise<Answer> {
    const startedAt = systemClock.now()
    this.send(client, path, request)
    let fault: Error | undefined
    const finished = client.finished().catch((error) => {
      fault = error
    })
    const isLate = !(await within(finished, this.#options.limitMs))
    return { client, durationMs: systemClock.now() - startedAt, isLate, fault }
  }

  /** A small chat. */
  chat(content: string, more: object = {}): object {
    return {
      model: this.model,
      messages: [{ role: 'user', content }],
      max_tokens: 200,
      stream: true,
      ...more,
    }
  }

  /** Asks for the models, to know the name of one. */
  async findModel(): Promise<void> {
    if (this.#options.model !== undefined) return
    const { client } = await this.ask('/models', { method: 'GET' })
    client.socket.destroy()
    try {
      const { data } = JSON.parse(client.bodyText) as { data: { id: string }[] }
      this.model = String(data[0]?.id ?? this.model)
    } catch {
      // Not every endpoint has that list.
    }
  }
}
