import { readFile } from 'node:fs/promises'
import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import { handleStream } from 'unhang'
import { type FaultName, scriptByModel, startUpstream } from 'unhang/testing'

/** Shorter than in life: a reader does not watch a page for a minute. The page draws them. */
const timeouts = { firstByteMs: 4_000, inactivityMs: 3_000, totalMs: 9_000 }
const writer = { headersAfterMs: 1_500, heartbeatMs: 1_000 }
const words = 'Every word you read here has come as an event of its own. '.split(/(?<= )/)
const wordMs = 150

/** What the upstream of the page can do. */
const scenarios: readonly { fault: FaultName; label: string }[] = [
  { fault: 'good', label: 'nothing: a good answer' },
  { fault: 'resetMidStream', label: 'resets the connection in mid-answer' },
  { fault: 'finMidStream', label: 'hangs up in mid-answer' },
  { fault: 'truncated', label: 'stops short, as if that were all' },
  { fault: 'halfEvent', label: 'hangs up in the middle of an event' },
  { fault: 'stalled', label: 'falls silent in mid-answer' },
  { fault: 'badChunkSize', label: 'sends what is no HTTP in mid-answer' },
  { fault: 'silent', label: 'never answers' },
  { fault: 'resetBeforeHead', label: 'resets the connection before its answer' },
  { fault: 'headOnly', label: 'says 200, and then nothing' },
  { fault: 'rateLimited', label: 'answers 429' },
  { fault: 'jsonError', label: 'answers 200 with an error as JSON' },
  { fault: 'webPage', label: 'answers 200 with a web page' },
  { fault: 'errorEvent', label: 'sends an error as its first event' },
]

/** Serves a page on which one can watch a stream survive. */
export class Playground {
  readonly #upstreamPort: number

  private constructor(upstreamPort: number) {
    this.#upstreamPort = upstreamPort
  }

  static async start(): Promise<Playground> {
    const upstream = await startUpstream(scriptByModel({ words, wordMs }))
    return new Playground(upstream.port)
  }

  /** @returns whether the request was one of the page's */
  serves(request: IncomingMessage, response: ServerResponse): boolean {
    // Not new URL(): that throws for what anybody may ask for.
    const [pathname, query = ''] = (request.url ?? '/').split('?', 2)
    const searchParams = new URLSearchParams(query)
    if (pathname === '/' && request.method === 'GET')
      servePage(response).catch((error) => response.destroy(error))
    else if (pathname === '/playground/with') this.#withUnhang(response, searchParams)
    else if (pathname === '/playground/without') this.#without(response, searchParams)
    else return false
    return true
  }

  #call(search: URLSearchParams) {
    const upstream = httpRequest({
      port: this.#upstreamPort,
      host: '127.0.0.1',
      path: '/v1/chat/completions',
      method: 'POST',
      agent: false,
    })
    upstream.write(JSON.stringify({ model: `fault:${search.get('fault')}`, stream: true }))
    return upstream
  }

  #withUnhang(response: ServerResponse, search: URLSearchParams): void {
    const call = ({ signal }: { signal: AbortSignal }) =>
      new Promise<IncomingMessage>((resolve, reject) => {
        const upstream = this.#call(search)
        signal.addEventListener('abort', () => upstream.destroy())
        upstream.on('response', resolve).on('error', reject).end()
      })
    void handleStream(response, (stream) => stream.relay(call(stream)), {
      dialect: 'openaiChat',
      timeouts,
      writer,
    })
  }

  /** As it is written everywhere, but for the listeners without which it would end the process. */
  #without(response: ServerResponse, search: URLSearchParams): void {
    const upstream = this.#call(search)
    upstream.on('response', (answer) => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream', Connection: 'keep-alive' })
      answer.on('error', ({ message }) => console.error('without unhang: %s', message)).pipe(response)
    })
    upstream.on('error', () => response.destroy()).end()
    response.on('close', () => upstream.destroy())
  }
}

async function servePage(response: ServerResponse): Promise<void> {
  const page = await readFile(new URL('page.html', import.meta.url), 'utf8')
  const settings = JSON.stringify({ timeouts, writer, scenarios })
  response.setHeader('Content-Type', 'text/html; charset=utf-8')
  response.setHeader(
    'Content-Security-Policy',
    "default-src 'self'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'",
  )
  response.end(page.replace('SETTINGS', settings))
}
