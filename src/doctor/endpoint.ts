import { connect as connectPlain, isIP } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { describeText, publicText } from '../diagnostics/describe-error.js'
import { RawClient, type RawRequest } from '../testing/raw-client.js'
import { systemClock, within } from '../timeouts/clock.js'
import { maskOf, type Quote, secretsOf } from './quote.js'

export interface EndpointOptions {
  /** Sent as `Authorization: Bearer …`. */
  key?: string | undefined
  /** Default: the first one that `/models` names. */
  model?: string | undefined
  /** How long one response may take. */
  limitMs: number
}

/** A response that has come, and the connection that it came over. */
export interface Answer {
  client: RawClient
  /** From the request to its end, in milliseconds. */
  durationMs: number
  /** It was still going on when its time was over, or when it was more than enough. */
  isLate: boolean
  /** The mistake in its chunks, or in its length. */
  fault: Error | undefined
  /** When pieces with events in them came, in milliseconds from the question. */
  eventsAtMs: number[]
  /** How to show what it says. */
  quote: Quote
}

/** Where chats are asked for, below the base URL. */
export const chats = '/chat/completions'

/** These members make a chat a cheap one. */
export const small = { max_tokens: 16 }

/** A chat of 200 tokens is never longer. */
const maxBytes = 16 * 1024 * 1024

/** Each chat says it, and so does the diagnosis: without what controls a terminal. */
const plainName = /^[^\p{C}\p{Zl}\p{Zp}]{1,100}$/u

/** An OpenAI-compatible endpoint, asked over raw connections: mistakes are in the bytes, and HTTP clients hide them. */
export class Endpoint {
  readonly url: URL
  model = 'default'
  readonly mask: (text: string) => string
  readonly #options: EndpointOptions

  /** @throws TypeError for anything but an HTTP URL */
  constructor(url: string, options: EndpointOptions) {
    const isHttp = URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)
    if (!isHttp)
      throw new TypeError(
        `URL must be one of http or https, say http://127.0.0.1:3000/v1, got ${publicText(url.replace(/^[^/?#]*@/, ''))}`,
      )
    if (/[^\x21-\x7e]/.test(options.key ?? ''))
      throw new TypeError('the key has a character that an HTTP header must not have')
    this.url = new URL(url)
    this.url.pathname = this.url.pathname.replace(/(\/chat\/completions)?\/*$/, '')
    this.#options = options
    this.mask = maskOf([options.key ?? '', ...secretsOf(this.url)])
    if (options.model !== undefined) this.model = options.model
  }

  readonly quote: Quote = (said) => describeText(this.mask(said))

  connect(): RawClient {
    const { hostname, port, protocol } = this.url
    const isTls = protocol === 'https:'
    const to = { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || (isTls ? 443 : 80)) }
    const name = isIP(to.host) ? {} : { servername: to.host }
    return new RawClient(isTls ? connectTls({ ...to, ...name }) : connectPlain(to))
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
    const { pathname, search } = this.url
    client.send({ ...request, headers, path: pathname.replace(/\/$/, '') + path + search })
  }

  /** Sends one request, by default on a connection of its own, and waits for its response. */
  async ask(
    path: string,
    request: Omit<RawRequest, 'port' | 'path'>,
    client = this.connect(),
  ): Promise<Answer> {
    const startedAt = systemClock.now()
    this.send(client, path, request)
    let fault: Error | undefined
    let received = 0
    const eventsAtMs: number[] = []
    const look = (bytes: Buffer) => {
      if (bytes.includes('data:')) eventsAtMs.push(systemClock.now() - startedAt)
      received += bytes.length
      if (received <= maxBytes) return
      fault = new Error(`more than ${maxBytes} bytes came`)
      client.socket.destroy()
    }
    client.socket.on('data', look)
    const finished = client.finished().catch((error) => {
      fault = error
    })
    const isInTime = await within(finished, this.#options.limitMs)
    const isLate = !isInTime || received > maxBytes
    client.socket.off('data', look)
    return { client, durationMs: systemClock.now() - startedAt, isLate, fault, eventsAtMs, quote: this.quote }
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
      const { data } = JSON.parse(client.bodyText) as { data: { id: unknown }[] }
      const [{ id } = { id: undefined }] = data
      if (typeof id === 'string' && plainName.test(id)) this.model = id
    } catch {
      // Not every endpoint has that list.
    }
  }
}
