import { once } from 'node:events'
import {
  type ClientRequest,
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { respondWithError } from '../../client/error-response.js'
import { watchPipelined } from '../../client/response.js'
import type { StreamEnd } from '../../diagnostics/channels.js'
import { describeError, describeText, publicText } from '../../diagnostics/describe-error.js'
import { alignServerTimeouts } from '../../server/align-timeouts.js'
import { allowOrigin, answerPreflight, refusalBody, refusalOf } from './access.js'
import { dialectOf, whatIsAsked } from './asked-stream.js'
import { beginCall, sendBody } from './call.js'
import { forward } from './forward.js'
import { forwardInterim } from './interim.js'
import { connectMsOf, type ProxySettings } from './settings.js'
import { isEventStream, streamThrough } from './stream-through.js'
import { isWebSocket, tunnelUpgrades } from './tunnel.js'

/** A proxy that listens. */
export interface RunningProxy {
  readonly server: Server
  readonly url: string
  /** Closes the tunnels of a server that is being drained once nothing else is left: they never end by themselves. */
  endTunnels(): void
  /** Closes what a drained server has left: tunnels, and connections of clients that do not close theirs. */
  close(): void
}

/** @param report one line for each stream, and for each request that failed */
export async function startProxy(
  settings: ProxySettings,
  report: (line: string) => void,
): Promise<RunningProxy> {
  const connectMs = connectMsOf(settings)
  // An upload takes as long as it takes.
  const options = { requestTimeout: 0, shouldUpgradeCallback: isWebSocket }
  const server = createServer(options)
  alignServerTimeouts(server)
  const tunnels = tunnelUpgrades(server, settings, connectMs)
  const serve = (request: IncomingMessage, response: ServerResponse) => {
    void new ProxiedRequest(request, response, { settings, connectMs, report }).serve()
  }
  server.on('request', serve).on('checkContinue', serve)
  server.listen(settings.port, settings.host)
  await once(server, 'listening')
  return {
    server,
    url: urlOf(server, settings.host),
    endTunnels() {
      const looking = setInterval(() => {
        server.getConnections((_error, open) => {
          if (open <= tunnels.size) for (const socket of tunnels) socket.destroy()
        })
      }, 100)
      server.once('close', () => clearInterval(looking))
    },
    close() {
      for (const socket of tunnels) socket.destroy()
      server.close()
      server.closeAllConnections()
    },
  }
}

/** The base URL to type into a client. */
export function urlOf(server: Server, host: string): string {
  const { port } = server.address() as AddressInfo
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}

interface Surroundings {
  readonly settings: ProxySettings
  readonly connectMs: number
  readonly report: (line: string) => void
}

class ProxiedRequest {
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #around: Surroundings
  #call: ClientRequest | undefined
  #answer: IncomingMessage | undefined
  #hasLeft = false

  constructor(request: IncomingMessage, response: ServerResponse, around: Surroundings) {
    this.#request = request
    this.#response = response
    this.#around = around
  }

  async serve(): Promise<void> {
    try {
      if (!this.#refuses()) await this.#forward()
    } catch (error) {
      // Nothing else would: its response may be one that cannot be passed on, and is not read.
      this.#call?.destroy()
      const { method, url = '' } = this.#request
      const how = this.#hasLeft ? 'client_gone' : describeError(error)
      this.#around.report(`${method} ${pathOf(url)}: ${how}`)
      respondWithError(error, this.#response, { dialect: dialectOf(this.#request) })
    }
  }

  /** Responds to requests that do not reach the upstream. */
  #refuses(): boolean {
    const response = this.#response
    const { settings } = this.#around
    allowOrigin(this.#request, response, settings)
    if (answerPreflight(this.#request, response, settings)) return true
    const refusal = refusalOf(this.#request, settings)
    if (!refusal) return false
    this.#request.resume()
    response.setHeader('Content-Type', 'application/json')
    response.writeHead(refusal.status).end(refusalBody(refusal))
    return true
  }

  async #forward(): Promise<void> {
    const request = this.#request
    const response = this.#response
    const { settings, connectMs } = this.#around
    const call = beginCall(request, settings, { connectMs, ...encodings(request) })
    this.#call = call
    forwardInterim(call, response)
    const asking = whatIsAsked(request)
    const { answer } = sendBody(request, call)
    const left = () => {
      // A response that breaks in the middle is closed as well.
      this.#hasLeft = !this.#answer?.errored
      call.destroy()
    }
    watchPipelined(response, left)
    response.once('close', () => {
      if (!response.writableFinished) left()
    })
    const stream = { response, call, answer, onEnd: (end: StreamEnd) => this.#reportEnd(end) }
    // Whichever comes first: a client that surely wants a stream need not wait for the upstream's head.
    const head = await Promise.race([answer, asking.then(({ isSure }) => (isSure ? undefined : answer))])
    this.#answer = head
    if (head === undefined) return streamThrough({ ...stream, asked: await asking }, settings)
    // A body that is still coming must not hold the stream back.
    const unread = { dialect: dialectOf(request), model: undefined, isSure: false }
    const asked = await Promise.race([asking, Promise.resolve(unread)])
    if (!isEventStream(head, request, asked)) return forward(head, response)
    await streamThrough({ ...stream, answer: head, asked }, settings)
  }

  #reportEnd({ outcome, status, model, events, bytes, durationMs }: StreamEnd): void {
    const { method, url = '' } = this.#request
    const named = model === undefined ? '' : ` ${describeText(model)}`
    const counts = `${events} events, ${bytes} bytes, ${Math.round(durationMs)} ms`
    this.#around.report(`${method} ${pathOf(url)}${named}: ${outcome}, status ${status ?? 'none'}, ${counts}`)
  }
}

/** Without the query, which may hold a key. */
function pathOf(url: string): string {
  return publicText(url.replace(/\?.*/s, ''))
}

/** A compressed stream cannot be looked into. */
function encodings({ method, headers }: IncomingMessage): { drop?: string[]; add?: Record<string, string> } {
  const mayStream = method === 'POST' || /event-stream|ndjson/i.test(headers.accept ?? '')
  if (!mayStream || headers['accept-encoding'] === undefined) return {}
  return { drop: ['accept-encoding'], add: { 'Accept-Encoding': 'identity' } }
}
