import { readFile } from 'node:fs/promises'
import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import { handleStream } from 'unhang'
import { createResume, type RedisStoreOptions, type ResumeStore } from 'unhang/resume'
import { scriptByModel, startUpstream } from 'unhang/testing'
import { type Api, apis, scenarios } from './scenarios.js'

/** Shorter than in life: a reader does not watch a page for a minute. The page draws them. */
const timeouts = { firstByteMs: 4_000, inactivityMs: 3_000, totalMs: 9_000 }
const writer = { headersAfterMs: 1_500, heartbeatMs: 1_000 }
const inWords = (text: string) => text.split(/(?<= )/)
const words = inWords('Every word you read here has come as an event of its own. ')
/** Takes long enough to be cut. */
const manyWords = [
  ...words,
  ...inWords(
    'Cut the connection while you read: the page asks for what it has missed, and for nothing else. ',
  ),
  ...inWords('No word is lost, and no word comes twice. '),
]
const wordMs = 150

/** Serves a page on which one can watch a stream survive. */
export class Playground {
  /** For a store in Redis. A process that died is noticed while a viewer still looks. */
  static readonly storeOptions: RedisStoreOptions = { prefix: 'playground', flushMs: 100, leaseMs: 2_000 }

  readonly #ports: { good: number; fault: number }
  readonly #process: string | undefined
  readonly #resume
  readonly #rejoin

  private constructor(ports: { good: number; fault: number }, store: ResumeStore, process?: string) {
    this.#ports = ports
    this.#process = process
    // A page has no users: its streams belong to every client that knows their ids.
    this.#resume = createResume({ store, owner: false })
    this.#rejoin = this.#resume.rejoin({ writer: { heartbeatMs: writer.heartbeatMs } })
  }

  /** @param process the name of this process, if there are several; the page may then kill it */
  static async start(store: ResumeStore, process?: string): Promise<Playground> {
    const good = await startUpstream(scriptByModel({ words: manyWords, wordMs }))
    const fault = await startUpstream(scriptByModel({ words, wordMs }))
    return new Playground({ good: good.port, fault: fault.port }, store, process)
  }

  /** @returns whether the request was one of the page's */
  serves(request: IncomingMessage, response: ServerResponse): boolean {
    // Not new URL(): that throws for some of the paths that a client may send.
    const [pathname = '/', query = ''] = (request.url ?? '/').split('?', 2)
    const isOurs = pathname === '/' ? request.method === 'GET' : pathname.startsWith('/playground/')
    if (!isOurs) return false
    const name = pathname === '/' ? 'page.html' : pathname.slice('/playground/'.length)
    const search = new URLSearchParams(query)
    if (this.#process) response.setHeader('playground-process', this.#process)
    if (name === 'with') this.#withUnhang(response, search)
    else if (name === 'without') this.#without(response, search)
    else if (name.startsWith('streams/')) void this.#rejoin(request, response)
    else if (name === 'process') response.end(this.#process)
    else if (name === 'kill') this.#kill(request, response)
    else if (name in types) this.#serveFile(name, response).catch((error) => response.destroy(error))
    else return false
    return true
  }

  #call(search: URLSearchParams, api: Api) {
    const fault = search.get('fault') ?? 'good'
    const model = `fault:${fault}`
    const upstream = httpRequest({
      port: this.#ports[fault === 'good' ? 'good' : 'fault'],
      host: '127.0.0.1',
      path: api.pathOf(encodeURIComponent(model)),
      method: 'POST',
      agent: false,
    })
    upstream.write(JSON.stringify({ model, stream: true }))
    return upstream
  }

  #withUnhang(response: ServerResponse, search: URLSearchParams): void {
    const api = apiOf(search)
    const call = ({ signal }: { signal: AbortSignal }) =>
      new Promise<IncomingMessage>((resolve, reject) => {
        const upstream = this.#call(search, api)
        signal.addEventListener('abort', () => upstream.destroy())
        upstream.on('response', resolve).on('error', reject).end()
      })
    void handleStream(response, (stream) => stream.relay(call(stream)), {
      dialect: api.dialect,
      timeouts,
      writer,
      resume: this.#resume,
    })
  }

  /** As it is written everywhere, but for the listeners without which it would end the process. */
  #without(response: ServerResponse, search: URLSearchParams): void {
    const api = apiOf(search)
    const upstream = this.#call(search, api)
    upstream.on('response', (answer) => {
      response.writeHead(200, { 'Content-Type': api.contentType, Connection: 'keep-alive' })
      answer.on('error', ({ message }) => console.error('without unhang: %s', message)).pipe(response)
    })
    upstream.on('error', () => response.destroy()).end()
    response.on('close', () => upstream.destroy())
  }

  /** As a machine that loses its power: nothing is said, nothing is saved. */
  #kill({ method, headers }: IncomingMessage, response: ServerResponse): void {
    // Pages of other origins cannot send this header unasked.
    const isAsked =
      this.#process !== undefined && method === 'POST' && headers['playground-kill'] !== undefined
    if (isAsked) process.kill(process.pid, 'SIGKILL')
    response.writeHead(404).end()
  }

  async #serveFile(name: string, response: ServerResponse): Promise<void> {
    const text = await readFile(new URL(name, import.meta.url), 'utf8')
    const labels = Object.entries(apis).map(([api, { label }]) => ({ api, label }))
    const settings = { timeouts, scenarios, apis: labels, canKill: this.#process !== undefined }
    response.setHeader('Content-Type', `${types[name]}; charset=utf-8`)
    response.setHeader('Content-Security-Policy', "default-src 'self'; img-src data:")
    response.end(text.replace('"SETTINGS"', JSON.stringify(settings)))
  }
}

const types: Readonly<Record<string, string>> = {
  'page.html': 'text/html',
  'page.css': 'text/css',
  'page.js': 'text/javascript',
  'timeline.js': 'text/javascript',
  'read-events.js': 'text/javascript',
}

const apiOf = (search: URLSearchParams): Api =>
  Object.entries(apis).find(([name]) => name === search.get('api'))?.[1] ?? (apis.openai as Api)
