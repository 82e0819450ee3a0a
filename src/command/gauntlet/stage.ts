import type { Socket } from 'node:net'
import { setTimeout as later } from 'node:timers/promises'
import { Endpoint } from '../../doctor/endpoint.js'
import {
  type AnswerShape,
  type RawClient,
  type ScriptedUpstream,
  scriptByModel,
  startUpstream,
  type UpstreamExchange,
  type UpstreamScript,
} from '../../testing/index.js'

/** How long a proxy that has ended may take to come back. */
const restartMs = 3_000

/** One play: how the upstream treats each request of it, and the requests that came. */
export interface Play {
  readonly script: UpstreamScript
  /** The mark in a request by which it is known again behind the proxy. */
  readonly mark: string
  readonly exchanges: UpstreamExchange[]
  /** Whether its trial is over, so that its connections are idle. */
  isOver: boolean
}

export interface StageOptions {
  url: string
  shape: AnswerShape
  model: string
  key: string | undefined
  upstreamPort: number
  /** Requests beyond these are refused. */
  maxRequests: number
}

/** The proxy is gone: nothing listens where it did. */
export class ProxyGone extends Error {}

/** A proxy between a client and an upstream that are both ours. */
export class Stage implements AsyncDisposable {
  readonly shape: AnswerShape
  readonly endpoint: Endpoint
  sent = 0
  readonly #options: StageOptions
  readonly #plays = new Map<string, Play>()
  readonly #others = scriptByModel()
  readonly #clients = new Set<RawClient>()
  /** By connection to the upstream. */
  readonly #lastPlays = new Map<Socket, Play>()
  #upstream: ScriptedUpstream | undefined

  constructor(options: StageOptions) {
    const { url, key, model, shape } = options
    this.#options = options
    this.shape = shape
    this.endpoint = new Endpoint(url, { key, model, limitMs: restartMs })
    const { path } = requestOf(shape, { model, mark: '', stream: true })
    // A URL with its whole path is taken, too.
    const { pathname } = this.endpoint.url
    if (pathname.endsWith(path)) this.endpoint.url.pathname = pathname.slice(0, -path.length)
  }

  /** @throws Error if the port is taken */
  async open(): Promise<void> {
    const { upstreamPort: port } = this.#options
    const play = (exchange: UpstreamExchange) => {
      const [mark = ''] = /unhang-trial-\d+\./.exec(exchange.body) ?? []
      const found = this.#plays.get(mark)
      found?.exchanges.push(exchange)
      if (found) this.#lastPlays.set(exchange.socket, found)
      return (found?.script ?? this.#others)(exchange)
    }
    this.#upstream = await startUpstream(play, { port }).catch((error) => {
      throw portIsTaken(error, port)
    })
  }

  /** The hint for a proxy that has another upstream. */
  get notCalled(): string {
    const { upstreamPort } = this.#options
    return `The proxy did not call http://127.0.0.1:${upstreamPort}: make that its upstream first. Its client got:`
  }

  /** From here on connections to the upstream are refused. */
  async close(): Promise<void> {
    const upstream = this.#upstream
    this.#upstream = undefined
    try {
      await upstream?.[Symbol.asyncDispose]()
    } catch {
      // A script that fails is a connection that was cut under it.
    }
  }

  /** Closes what the proxy keeps for later, so that its next connection is a new one. */
  async dropIdle(): Promise<void> {
    for (const [socket, { isOver }] of this.#lastPlays) {
      if (isOver) socket.end()
      if (isOver || socket.destroyed) this.#lastPlays.delete(socket)
    }
    // The proxy has to hear of it.
    await later(50)
  }

  play(script: UpstreamScript): Play {
    const play: Play = { script, mark: `unhang-trial-${this.#plays.size + 1}.`, exchanges: [], isOver: false }
    this.#plays.set(play.mark, play)
    return play
  }

  /** @throws ProxyGone if nothing listens, also after a while */
  async connect(): Promise<RawClient> {
    for (let waitedMs = 0; ; waitedMs += 200) {
      const client = this.endpoint.connect()
      const isOpen = await new Promise<boolean>((resolve) => {
        client.socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
      })
      if (isOpen) {
        this.#clients.add(client)
        return client
      }
      if (waitedMs >= restartMs) throw new ProxyGone(`Nothing listens at ${this.endpoint.url.host}.`)
      await later(200)
    }
  }

  /** Sends one request, by default on a connection of its own. */
  async ask(
    { mark }: Play,
    { stream = true, client, cutAt }: { stream?: boolean; client?: RawClient; cutAt?: number } = {},
  ): Promise<RawClient> {
    const { model, key, maxRequests } = this.#options
    const asking = client ?? (await this.connect())
    if (++this.sent > maxRequests) throw new Error(`more requests than were announced: ${maxRequests}`)
    const { path, body, headers } = requestOf(this.shape, { model, mark, stream })
    const text = JSON.stringify(body)
    this.endpoint.send(asking, path, {
      body: text.slice(0, cutAt),
      headers: {
        'User-Agent': 'unhang-gauntlet',
        'Content-Length': String(Buffer.byteLength(text)),
        ...headers,
        ...(this.shape === 'anthropic' && key !== undefined ? { 'x-api-key': key } : {}),
      },
    })
    return asking
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.socket.destroy()
    await this.close()
  }
}

/** The hint if that is why an upstream could not be started. */
export function portIsTaken(error: NodeJS.ErrnoException, port: number): Error {
  if (error.code !== 'EADDRINUSE') return error
  return new Error(
    `The port ${port} is taken: stop what listens there (unhang upstream?), or take another one.`,
  )
}

/** A small request of an API, below the base URL. */
function requestOf(
  shape: AnswerShape,
  { model, mark, stream }: { model: string; mark: string; stream: boolean },
): { path: string; body: object; headers?: Record<string, string> } {
  const content = `Say hello. (${mark})`
  const messages = [{ role: 'user', content }]
  switch (shape) {
    case 'openai':
      return { path: '/chat/completions', body: { model, messages, stream } }
    case 'openaiResponses':
      return { path: '/responses', body: { model, input: content, stream } }
    case 'anthropic': {
      const headers = { 'anthropic-version': '2023-06-01' }
      return { path: '/messages', body: { model, max_tokens: 64, messages, stream }, headers }
    }
    case 'gemini': {
      const method = stream ? 'streamGenerateContent?alt=sse' : 'generateContent'
      return {
        path: `/models/${model}:${method}`,
        body: { contents: [{ role: 'user', parts: [{ text: content }] }] },
      }
    }
    case 'ollama':
      return { path: '/chat', body: { model, messages, stream } }
  }
}
