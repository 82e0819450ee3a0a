import http, {
  type ClientRequest,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from 'node:http'

/** The deadlines of the proxies here. */
export const proxyDeadlines = {
  firstByte: 1_000,
  firstEvent: 1_500,
  inactivity: 2_200,
  stall: 2_200,
  total: 9_000,
  client: 9_000,
}
export type Deadline = keyof typeof proxyDeadlines

/** The deadlines for the gauntlet: longer, for a machine that is busy with other tests. */
export const toldDeadlines = {
  firstByteMs: 2_000,
  firstEventMs: 2_500,
  inactivityMs: 2_500,
  upstreamStallMs: 2_500,
  totalMs: 9_500,
  clientStallMs: 9_500,
}

const agent = new http.Agent({ keepAlive: true })
const lingerMs = 200

/** A good proxy without unhang, in steps: a mutant has one step that is wrong. */
export class Call {
  readonly deadlines: Readonly<Record<Deadline, number>> = proxyDeadlines
  isOver = false
  isCatchingUp = false
  upstream: ClientRequest | undefined
  #held = ''
  readonly #timers = new Map<Deadline, NodeJS.Timeout>()

  constructor(
    readonly request: IncomingMessage,
    readonly response: ServerResponse,
    readonly url: string,
    readonly body: string,
  ) {}

  run(): void {
    this.start('total')
    this.start('firstByte')
    // A mutant may write after its end.
    this.response.on('close', () => this.onClientGone()).on('error', () => {})
    this.call()
  }

  call(): void {
    const { url: path } = this.request
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(this.body) }
    this.upstream = http
      .request(this.url + path, { method: 'POST', agent, headers })
      .on('response', (answer) => this.onAnswer(answer))
      .on('error', (error: NodeJS.ErrnoException) => this.onError(error))
    this.upstream.end(this.body)
  }

  onAnswer(answer: IncomingMessage): void {
    answer.setEncoding('utf8').on('error', (error) => this.onError(error))
    if (!/event-stream/.test(answer.headers['content-type'] ?? '')) return this.onDocument(answer)
    this.start('firstEvent')
    answer.on('data', (text) => this.onText(text, answer)).on('end', () => this.onEnd())
  }

  onDocument(answer: IncomingMessage): void {
    let text = ''
    this.stop('firstByte')
    this.start('inactivity')
    answer.on('data', (more) => {
      text += more
    })
    answer.on('end', () => this.respond(answer.statusCode ?? 502, text, answer.headers['retry-after']))
  }

  onText(text: string, answer: IncomingMessage): void {
    this.stop('firstByte')
    this.start('inactivity')
    this.#held += text
    const end = this.#held.lastIndexOf('\n\n') + 2
    if (end === 1) return
    const whole = this.#held.slice(0, end)
    this.#held = this.#held.slice(end)
    this.forward(whole, answer)
  }

  forward(whole: string, answer: IncomingMessage): void {
    if (this.isOver) return
    const events = whole.split('\n\n').filter((event) => event.startsWith('data:'))
    if (events.length > 0) this.onContent()
    if (events.length > 0 || this.response.headersSent) this.write(whole, answer)
    if (events.some((event) => event.includes('[DONE]') || event.includes('"error"'))) this.onTerminal()
  }

  onContent(): void {
    this.stop('firstEvent')
    this.start('stall')
  }

  write(text: string, answer: IncomingMessage): void {
    this.begin()
    if (this.response.write(text)) return
    this.isCatchingUp = true
    answer.pause()
    this.start('client')
    this.stop('inactivity')
    this.stop('stall')
    this.response.once('drain', () => {
      this.isCatchingUp = false
      answer.resume()
      this.stop('client')
      if (!this.isOver) this.start('inactivity')
    })
  }

  begin(): void {
    if (!this.response.headersSent) this.response.writeHead(200, { 'content-type': 'text/event-stream' })
  }

  onTerminal(): void {
    this.over()
    this.response.end()
    // A response that ends well by itself keeps its connection.
    setTimeout(() => this.upstream?.destroy(), lingerMs)
  }

  onEnd(): void {
    this.fail(502, 'truncated')
  }

  onError({ code }: NodeJS.ErrnoException): void {
    this.fail(code === 'ECONNREFUSED' ? 503 : 502, String(code))
  }

  onDeadline(name: Deadline): void {
    if (name === 'client') this.over()
    if (name === 'client') this.response.destroy()
    else this.fail(504, name)
    this.upstream?.destroy()
  }

  onClientGone(): void {
    if (!this.response.writableFinished) this.upstream?.destroy()
    this.over()
  }

  fail(status: number, message: string): void {
    if (this.isOver) return
    const error = JSON.stringify({ error: { message } })
    if (!this.response.headersSent) return this.respond(status, error)
    this.over()
    this.response.end(`data: ${error}\n\n`)
  }

  respond(status: number, text: string, retryAfter?: string): void {
    if (this.isOver) return
    this.over()
    if (retryAfter !== undefined) this.response.setHeader('retry-after', retryAfter)
    this.response.writeHead(status, { 'content-type': 'application/json' }).end(text)
  }

  over(): void {
    this.isOver = true
    for (const name of this.#timers.keys()) this.stop(name)
  }

  start(name: Deadline): void {
    this.stop(name)
    const ms = this.deadlines[name]
    if (Number.isFinite(ms) && !this.isOver)
      this.#timers.set(
        name,
        setTimeout(() => this.onDeadline(name), ms),
      )
  }

  stop(name: Deadline): void {
    clearTimeout(this.#timers.get(name))
    this.#timers.delete(name)
  }
}

export type CallClass = new (...about: ConstructorParameters<typeof Call>) => Call

/** The proxy whose calls are of a class, and its way with half a request. */
export function proxyOf(Kind: CallClass, { callsForHalf = false } = {}): (url: string) => RequestListener {
  return (url) => (request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (text) => {
      body += text
    })
    const run = () => new Kind(request, response, url, body).run()
    request.on('end', run)
    request.on('error', () => callsForHalf && run())
  }
}
