import { connect, type Socket } from 'node:net'
import { createParser, type EventSourceMessage } from 'eventsource-parser'
import { checkNames, shown } from '../errors/bad-input.js'
import { decodeChunked, type ReceivedBody } from './decode-chunked.js'

/** One request, as it is written to the socket. */
export interface RawRequest {
  /** Of 127.0.0.1. */
  port: number
  /** Default `POST`. */
  method?: string | undefined
  /** Default `/v1/chat/completions`. */
  path?: string | undefined
  /** Beside `Host`, and what a body needs. */
  headers?: Record<string, string> | undefined
  /** A string as it is, anything else as JSON. */
  body?: unknown
  /** Default `1.1`. */
  httpVersion?: string | undefined
}

/** How the API of OpenAI tells an error. */
export interface OpenAIErrorBody {
  /** What went wrong. */
  error: {
    /** What a person may read. */
    message: string
    /** The kind of error. */
    type: string
    /** The parameter that was wrong; a proxy knows of none. */
    param: null
    /** What programs look at. */
    code: string
  }
}

const headEnd = '\r\n\r\n'

/** A client on a raw socket: it sees bytes, FIN and RST as they are, and need not read. */
export class RawClient {
  /** Its connection. */
  readonly socket: Socket
  /** When each piece came, in milliseconds from the request. */
  readonly arrivalsMs: number[] = []
  readonly #startedAt = performance.now()
  readonly #chunks: Buffer[] = []
  readonly #waiting = new Set<() => void>()
  #received = 0
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

  /** All that has come. */
  get bytes(): Buffer {
    if (this.#chunks.length > 1) this.#chunks.splice(0, this.#chunks.length, Buffer.concat(this.#chunks))
    return this.#chunks[0] ?? Buffer.alloc(0)
  }

  /** Whether it is worth looking: decoding a large body after each of its chunks would take for ever. */
  get #mayBeComplete(): boolean {
    const last = this.#chunks.at(-1)
    if (this.#received < 64 * 1024 || last === undefined || last.length < 5) return true
    if (this.header('content-length') !== undefined) return true
    return last.subarray(-5).toString() === '0\r\n\r\n'
  }

  /** All that has come, as text. */
  get text(): string {
    return this.bytes.toString()
  }

  /** The line and the headers of the answer; interim ones (100 Continue, 103 Early Hints) stand before it. */
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

  /** 0 as long as there is no head. */
  get status(): number {
    return Number(this.head.split(' ')[1] ?? 0)
  }

  /** A header of the answer. */
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
  get longestGapMs(): number {
    const gaps = this.arrivalsMs.map((arrivalMs, index) => arrivalMs - (this.arrivalsMs[index - 1] ?? 0))
    return Math.max(0, ...gaps)
  }

  /** The body as text, without its chunk framing. */
  get bodyText(): string {
    return this.body.bytes.toString()
  }

  /** The body as the error object that it should be. */
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

  /** Waits until something holds. It is looked at whenever bytes come; the connection's end fails it. */
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

  /** Leaves at once, the way a page that is closed does. */
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
 * @example using client = await rawRequest({ port, body: { stream: true } }).finished()
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
