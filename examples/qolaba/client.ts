import http, { type IncomingMessage } from 'node:http'
import https from 'node:https'
import { readAnswer, type StreamDeadlines, StreamError, type TimeoutCoordinator, watchConnect } from 'unhang'
import type { QolabaAnswer, QolabaRequest } from './translate.js'

/** The part of a stream that its call needs. */
export interface UpstreamCall {
  /** The bearer key. */
  key: string
  signal: AbortSignal
  deadlines: StreamDeadlines | TimeoutCoordinator
}

/**
 * Calls Qolaba with `node:http(s)`. It has no timers of its own: the stream's clock and signal are in charge.
 */
export class QolabaClient {
  readonly #baseUrl: string
  readonly #transport: typeof http | typeof https
  readonly #agent: http.Agent

  constructor(baseUrl: string) {
    this.#baseUrl = baseUrl.replace(/\/+$/, '')
    this.#transport = baseUrl.startsWith('https:') ? https : http
    // Without a timeout an agent ignores what the server says of its idle connections, and reuses dead ones.
    this.#agent = new this.#transport.Agent({ keepAlive: true, timeout: 55_000 })
  }

  /** The answer as it comes; its status and its events are for the caller to read. */
  streamChat(body: QolabaRequest, call: UpstreamCall): Promise<IncomingMessage> {
    return this.#post('/streamChat', { ...body, stream: true }, 'text/event-stream', call)
  }

  /** The complete answer. */
  async chat(body: QolabaRequest, call: UpstreamCall): Promise<QolabaAnswer> {
    const { signal, deadlines } = call
    const response = await this.#post('/chat', body, 'application/json', call)
    const answer = await readAnswer(response, { signal, onChunk: () => deadlines.touch() })
    const { output, promptTokens, completionTokens } = answer as Partial<QolabaAnswer>
    if (typeof output !== 'string') throw new StreamError('upstream_protocol')
    return { output, promptTokens, completionTokens }
  }

  /** The answer of the OpenAI-compatible endpoint: events or JSON, as the body asks for. */
  chatCompletions(body: object, call: UpstreamCall): Promise<IncomingMessage> {
    const accept = 'stream' in body && body.stream === true ? 'text/event-stream' : 'application/json'
    return this.#post('/chat/completions', body, accept, call)
  }

  close(): void {
    this.#agent.destroy()
  }

  #post(path: string, body: object, accept: string, call: UpstreamCall): Promise<IncomingMessage> {
    const json = JSON.stringify(body)
    return new Promise((resolve, reject) => {
      const request = this.#transport.request(`${this.#baseUrl}${path}`, {
        method: 'POST',
        agent: this.#agent,
        signal: call.signal,
        headers: {
          authorization: `Bearer ${call.key}`,
          accept,
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(json),
        },
      })
      watchConnect(request, call.deadlines).on('response', resolve).on('error', reject).end(json)
    })
  }
}
