import { connect, type Socket } from 'node:net'
import { createParser, type EventSourceMessage } from 'eventsource-parser'
import { checkNames, shown } from '../errors/bad-input.js'
import { decodeChunked, type ReceivedBody } from './decode-chunked.js'

/** One request, as {@link rawRequest} writes it to the socket. */
export interface RawRequest {
  /** The port of 127.0.0.1. */
  port: number
  /** The HTTP method. @defaultValue `POST` */
  method?: string | undefined
  /** The path. @defaultValue `/v1/chat/completions` */
  path?: string | undefined
  /** Headers beside `Host`, and those that a body needs. @defaultValue `{}` */
  headers?: Record<string, string> | undefined
  /** The body: a string as it is, anything else as JSON. Not set: there is none. */
  body?: unknown
  /** The version of HTTP in the request line. @defaultValue `1.1` */
  httpVersion?: string | undefined
}

/** The JSON of an error in the OpenAI API. */
export interface OpenAIErrorBody {
  /** The error. */
  error: {
    /** A sentence for people. */
    message: string
    /** The kind of error. */
    type: string
    /** The parameter that was wrong; always `null` from a proxy. */
    param: null
    /** The code for programs. */
    code: string
  }
}

const headEnd = '\r\n\r\n'

/**
 * A client on a raw socket: it sees bytes, FIN and RST as they are, and need not read.
 *
 * @example
 * using client = new RawClient(port).send({ body: { stream: true } })
 * await client.received('data: ')
 * client.reset()
 */
export class RawClient {
  /** The connection of the client. */
  readonly socket: Socket
  /** When each piece came, in milliseconds from the request. */
  readonly arrivalsMs: number[] = []
  readonly #startedAt = performance.now()
  readonly #chunks: Buffer[] = []
  readonly #waiting = new Set<() => void>()
  #received = 0
  /** Looked up once: the whole of a large body would be copied each time. */
  #hasLength: boolean | undefined
  #ending: 'fin' | 'reset' | undefined

  /** @param to a port of 127.0.0.1, or a socket of one's own, say of TLS */
  constructor(to: number | Socket) {
    if (typeof to !== 'number' && typeof Object(to).on !== 'function') {
      throw new TypeError(`a RawClient takes a port or a socket, got ${shown(to)}`)
    }
    this.socket = typeof to === 'number' ? connect({ port: to, host: '127.0.0.1' }) : to
    this.socket.on('data', (bytes) => {
      this.#chunks.push(bytes)
      this.#received += bytes.length
      this.arrivalsMs.push(performance.now() - this.#startedAt)
      this.#wake()
    })
    this.socket.on('end', () => this.#ended('fin'))
    this.socket.on('error', () => this.#ended('reset'))
    this.socket.on('close', () => this.#ended('reset'))
  }

  /** How the server ended the connection; `undefined` while it stands. */
  get ending(): 'fin' | 'reset' | undefined {
    return this.#ending
  }

  /** All bytes that have come. */
  get bytes(): Buffer {
    if (this.#chunks.length > 1) this.#chunks.splice(0, this.#chunks.length, Buffer.concat(this.#chunks))
    return this.#chunks[0] ?? Buffer.alloc(0)
  }

  /** Whether it is worth looking: decoding a large body after each of its chunks would take for ever. */
  get #mayBeComplete(): boolean {
    const last = this.#chunks.at(-1)
    if (this.#received < 64 * 1024 || last === undefined || last.length < 5) return true
    this.#hasLength ??= this.header('content-length') !== undefined
    if (this.#hasLength) return true
    return last.subarray(-5).toString() === '0\r\n\r\n'
  }

  /** All bytes that have come, as text. */
  get text(): string {
    return this.bytes.toString()
  }

  /** The status line and the headers of the response, without interim responses (100, 103). */
  get head(): string {
    const { start, end } = this.#headRange
    return end === -1 ? '' : this.bytes.toString('latin1', start, end)
  }

  get #headRange(): { start: number; end: number } {
    const { bytes } = this
    let start = 0
    let end = bytes.indexOf(headEnd)
    while (end !== -1 && /^HTTP\/1\.1 1(?!01)/.test(bytes.toString('latin1', start, start + 12))) {
      start = end + headEnd.length
      end = bytes.indexOf(headEnd, start)
    }
    return { start, end }
  }

  /** The HTTP status; 0 before the headers have come. */
  get status(): number {
    return Number(this.head.split(' ')[1] ?? 0)
  }

  /** Returns a header of the response. */
  header(name: string): string | undefined {
    return this.head.match(new RegExp(`^${name}: *(.*)$`, 'im'))?.[1]
  }

  /** The body without its chunk framing, and whether it was ended as HTTP ends a body. */
  get body(): ReceivedBody {
    const { end } = this.#headRange
    if (end === -1) return { bytes: Buffer.alloc(0), complete: false }
    const rest = this.bytes.subarray(end + headEnd.length)
    if (this.status === 204 || this.status === 304) return { bytes: rest, complete: true }
    if (/chunked/i.test(this.header('transfer-encoding') ?? '')) return decodeChunked(rest)
    const length = this.header('content-length')
    if (length !== undefined) return { bytes: rest, complete: rest.length === Number(length) }
    return { bytes: rest, complete: this.#ending === 'fin' }
  }

  /** The longest silence between two pieces, in milliseconds. */
  get maxGapMs(): number {
    const gaps = this.arrivalsMs.map((arrivalMs, index) => arrivalMs - (this.arrivalsMs[index - 1] ?? 0))
    return Math.max(0, ...gaps)
  }

  /** The body as text, without its chunk framing. */
  get bodyText(): string {
    return this.body.bytes.toString()
  }

  /** The body, parsed as the error that it should be. */
  get json(): OpenAIErrorBody {
    return JSON.parse(this.bodyText)
  }

  /** The events of the body so far. */
  get events(): EventSourceMessage[] {
    const events: EventSourceMessage[] = []
    createParser({ onEvent: (event) => events.push(event) }).feed(this.bodyText)
    return events
  }

  /** The data of each event. */
  get data(): string[] {
    return this.events.map((event) => event.data)
  }

  /** Writes a request. */
  send({
    method = 'POST',
    path = '/v1/chat/completions',
    headers = {},
    body,
    httpVersion = '1.1',
  }: Omit<RawRequest, 'port'>): this {
    const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body)
    const lines = Object.entries({
      Host: 'test',
      ...(body === undefined
        ? {}
        : { 'Content-Type': 'application/json', 'Content-Length': `${Buffer.byteLength(text)}` }),
      ...headers,
    }).map(([name, value]) => `${name}: ${value}\r\n`)
    this.socket.write(`${method} ${path} HTTP/${httpVersion}\r\n${lines.join('')}\r\n${text}`)
    return this
  }

  /** Waits until `holds()` is true, which is checked whenever bytes come; rejects when the connection ends. */
  async until(holds: () => boolean): Promise<this> {
    while (!holds()) {
      if (this.#ending) throw new Error(`the connection ended (${this.#ending}) with:\n${this.text}`)
      await new Promise<void>((resolve) => this.#waiting.add(resolve))
    }
    return this
  }

  /** Waits until this text has come. */
  received(text: string): Promise<this> {
    return this.until(() => this.text.includes(text))
  }

  /** Waits for the response to be complete, or for the connection to end. */
  async finished(): Promise<this> {
    while (!this.#ending && !(this.#mayBeComplete && this.body.complete)) {
      await new Promise<void>((resolve) => this.#waiting.add(resolve))
    }
    return this
  }

  /** Waits for the connection to end. */
  async closed(): Promise<this> {
    while (!this.#ending) await new Promise<void>((resolve) => this.#waiting.add(resolve))
    return this
  }

  /** Resets the connection, as a page does that is closed. */
  reset(): void {
    this.socket.resetAndDestroy()
  }

  /** Closes the connection. */
  [Symbol.dispose](): void {
    this.socket.destroy()
  }

  #ended(how: 'fin' | 'reset'): void {
    this.#ending ??= how
    this.#wake()
  }

  #wake(): void {
    for (const wake of this.#waiting) wake()
    this.#waiting.clear()
  }
}

/**
 * Sends one request on a connection of its own.
 *
 * @example
 * using client = await rawRequest({ port, body: { stream: true } }).finished()
 */
export function rawRequest(options: RawRequest): RawClient {
  checkNames(options, {
    owner: 'request.',
    names: ['port', 'method', 'path', 'headers', 'body', 'httpVersion'],
    instead: { url: 'port and path' },
  })
  const { port, ...request } = options
  if (!Number.isInteger(port))
    throw new TypeError(`request.port must be a port of 127.0.0.1, got ${shown(port)}`)
  return new RawClient(port).send(request)
}
