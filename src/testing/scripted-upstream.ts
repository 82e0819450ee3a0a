import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { checkNames, shown } from '../errors/bad-input.js'
import { decodeChunked } from './decode-chunked.js'

/** One request, and the upstream's responses to it, step by step. */
export type UpstreamScript = (exchange: UpstreamExchange) => unknown

/** An upstream on a raw socket: it can do everything that an upstream should not. */
export interface ScriptedUpstream extends AsyncDisposable {
  /** The base URL of the upstream. */
  readonly url: string
  /** The port that it listens on. */
  readonly port: number
  /** The requests so far, in order. */
  readonly exchanges: UpstreamExchange[]
  /** How many connections were opened. */
  readonly connections: number
  /** How many connections are open now. */
  readonly openConnections: number
  /** Waits for the request with this number, from 0. */
  exchange(index: number): Promise<UpstreamExchange>
}

/**
 * One request, and everything that can be done to it. Methods that write return the exchange.
 *
 * @example
 * const script: UpstreamScript = (exchange: UpstreamExchange) => exchange.open().data({ a: 1 }).reset()
 */
export class UpstreamExchange {
  /** The connection of the request. */
  readonly socket: Socket
  /** The request's line and headers. */
  readonly head: string
  /** The request's body. */
  readonly body: string
  constructor(socket: Socket, head: string, body: string) {
    this.socket = socket
    this.head = head
    this.body = body
  }

  /** Resolves when the connection is gone, no matter which side ended it. */
  get closed(): Promise<unknown> {
    return this.socket.closed
      ? Promise.resolve()
      : new Promise((resolve) => this.socket.once('close', resolve))
  }

  /** Resolves when the peer has made room, or is gone. */
  drained(): Promise<void> {
    return new Promise((resolve) => {
      const settle = () => {
        this.socket.off('drain', settle).off('close', settle)
        resolve()
      }
      this.socket.on('drain', settle).on('close', settle)
    })
  }

  /** Sends bytes as they are. */
  raw(bytes: string | Uint8Array): this {
    this.socket.write(bytes)
    return this
  }

  /** Sends the headers of a chunked event stream, or those given. */
  open(headers = 'Content-Type: text/event-stream', status = '200 OK'): this {
    return this.raw(`HTTP/1.1 ${status}\r\n${headers}\r\nTransfer-Encoding: chunked\r\n\r\n`)
  }

  /** Sends one HTTP chunk. */
  chunk(text: string | Uint8Array): this {
    const bytes = Buffer.from(text)
    return this.raw(
      Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]),
    )
  }

  /** Sends one HTTP chunk for each event: a string as it is, anything else as JSON. */
  data(...events: unknown[]): this {
    for (const event of events) {
      this.chunk(`data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`)
    }
    return this
  }

  /** Ends the body; the connection stays open. */
  end(): this {
    return this.raw('0\r\n\r\n')
  }

  /** Sends a whole response with a length. */
  answer(status: string, body: string, headers = 'Content-Type: application/json'): this {
    return this.raw(
      `HTTP/1.1 ${status}\r\n${headers}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    )
  }

  /** Repeats `act`, every so many milliseconds as far as the peer reads, until the connection is gone. */
  every(intervalMs: number, act: () => unknown): this {
    const again = async () => {
      while (!this.socket.destroyed) {
        act()
        if (this.socket.writableNeedDrain) await this.drained()
        await new Promise((resolve) => setTimeout(resolve, intervalMs))
      }
    }
    void again()
    return this
  }

  /** Closes the connection after the written bytes. */
  fin(): void {
    this.socket.end()
  }

  /** Waits until the written bytes are with the peer's system, then resets the connection. */
  async reset(): Promise<void> {
    await new Promise((resolve) => this.socket.write('', resolve))
    this.socket.resetAndDestroy()
  }
}

/**
 * Starts an upstream that runs a script for every request, by default on a free port of 127.0.0.1.
 *
 * An error of the script cuts the connection, and is thrown again when the upstream is disposed of.
 *
 * @param options.port default 0, a free one
 * @param options.host default `127.0.0.1`
 * @throws TypeError for anything but a script; the system's error for a port that is taken
 * @example
 * await using upstream = await startUpstream((exchange) => exchange.open().data({ a: 1 }).reset())
 */
export async function startUpstream(
  script: UpstreamScript,
  options: { port?: number | undefined; host?: string | undefined } = {},
): Promise<ScriptedUpstream> {
  checkNames(options, { owner: 'options.', names: ['port', 'host'] })
  const { port: wantedPort = 0, host = '127.0.0.1' } = options
  if (typeof script !== 'function') {
    const hint = typeof script === 'string' ? `; did you mean faults.${script}?` : ''
    throw new TypeError(`startUpstream(script) takes a function, got ${shown(script)}${hint}`)
  }
  const sockets = new Set<Socket>()
  const exchanges: UpstreamExchange[] = []
  const waiting: (() => void)[] = []
  const failures: unknown[] = []
  let connections = 0
  const server = createServer((socket) => {
    connections++
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket)).on('error', () => {})
    readRequests(socket, (head, body) => {
      const exchange = new UpstreamExchange(socket, head, body)
      exchanges.push(exchange)
      for (const wake of waiting.splice(0)) wake()
      void (async () => script(exchange))().catch((error) => {
        failures.push(error)
        socket.destroy()
      })
    })
  })
  server.listen(wantedPort, host)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    port,
    exchanges,
    get connections() {
      return connections
    },
    get openConnections() {
      return sockets.size
    },
    async exchange(index) {
      while (exchanges.length <= index) await new Promise<void>((resolve) => waiting.push(resolve))
      return exchanges[index] as UpstreamExchange
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
      if (failures.length > 0) throw failures[0]
    },
  }
}

function readRequests(socket: Socket, onRequest: (head: string, body: string) => void): void {
  let received = Buffer.alloc(0)
  socket.on('data', (bytes: Buffer) => {
    received = Buffer.concat([received, bytes])
    for (;;) {
      const headEnd = received.indexOf('\r\n\r\n')
      if (headEnd === -1) return
      const head = received.subarray(0, headEnd).toString()
      const rest = received.subarray(headEnd + 4)
      const length = readBodyLength(head, rest)
      if (length === undefined || rest.length < length) return
      const body = rest.subarray(0, length)
      received = rest.subarray(length)
      onRequest(head, (isChunked(head) ? decodeChunked(body).bytes : body).toString())
    }
  })
}

function isChunked(head: string): boolean {
  return /\ntransfer-encoding: *chunked/i.test(head)
}

function readBodyLength(head: string, rest: Buffer): number | undefined {
  if (isChunked(head)) {
    const end = rest.indexOf('0\r\n\r\n')
    return end === -1 ? undefined : end + 5
  }
  return Number(head.match(/\ncontent-length: *(\d+)/i)?.[1] ?? 0)
}
