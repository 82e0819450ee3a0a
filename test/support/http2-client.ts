import { once } from 'node:events'
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  createServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from 'node:http2'
import type { AddressInfo } from 'node:net'
import { createParser } from 'eventsource-parser'
import {
  type HandleStreamOptions,
  handleStream,
  type StreamContext,
  type StreamEnd,
} from '../../src/index.js'
import type { ReceivedAnswer } from '../../src/testing/index.js'

/** One request over HTTP/2, and its response. */
class Http2Client implements ReceivedAnswer {
  readonly stream: ClientHttp2Stream
  readonly #closed: Promise<void>
  #headers: Record<string, unknown> = {}
  text = ''

  constructor(session: ClientHttp2Session, path: string, isWhole: boolean) {
    this.stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/json' })
    this.stream.setEncoding('utf8').on('response', (headers) => {
      this.#headers = headers
    })
    this.stream.on('data', (piece) => {
      this.text += piece
    })
    this.stream.on('error', () => {})
    this.#closed = new Promise((resolve) => this.stream.once('close', resolve))
    if (isWhole) this.stream.end('{"stream":true}')
    else this.stream.write('{"stream"')
  }

  get status(): number {
    return Number(this.#headers[':status'] ?? 0)
  }

  get bodyText(): string {
    return this.text
  }

  get body() {
    return { complete: this.stream.closed && this.stream.rstCode === 0 }
  }

  get ending(): string | undefined {
    return this.stream.closed ? `rst ${this.stream.rstCode}` : undefined
  }

  get data(): string[] {
    const data: string[] = []
    createParser({ onEvent: (event) => data.push(event.data) }).feed(this.text)
    return data
  }

  header(name: string): string | undefined {
    const value = this.#headers[name]
    return value === undefined ? undefined : String(value)
  }

  async finished(): Promise<this> {
    await this.#closed
    return this
  }

  async received(text: string): Promise<this> {
    while (!this.text.includes(text)) await Promise.race([once(this.stream, 'data'), this.#closed])
    return this
  }
}

/** A server of HTTP/2 whose every request is one stream. */
export async function startHttp2Proxy(
  handler: (stream: StreamContext, request: Http2ServerRequest) => unknown,
  options: HandleStreamOptions = {},
) {
  const ends: StreamEnd[] = []
  const waiting: (() => void)[] = []
  const onEnd = (end: StreamEnd) => {
    ends.push(end)
    for (const wake of waiting.splice(0)) wake()
  }
  const server = createServer((request, response: Http2ServerResponse) => {
    void handleStream(response, (stream) => handler(stream, request), { ...options, onEnd })
  })
  const asked = once(server, 'request')
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  return {
    ask: (path = '/v1/chat/completions', isWhole = true) => new Http2Client(session, path, isWhole),
    /** When the first request has come. */
    asked,
    async end(): Promise<StreamEnd> {
      while (ends.length === 0) await new Promise<void>((resolve) => waiting.push(resolve))
      return ends[0] as StreamEnd
    },
    async [Symbol.asyncDispose]() {
      session.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
