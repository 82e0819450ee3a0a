import { startUpstream, type UpstreamExchange } from '../../src/testing/index.js'
import { chatChunk } from './chat.js'

export const later = (durationMs: number) => new Promise((resolve) => setTimeout(resolve, durationMs))

/** The mistake of a server: each of these takes the place of a good server's part. */
export interface Quirks {
  head?: (head: string, asked: string) => string
  events?: (exchange: UpstreamExchange) => unknown
  afterStream?: (exchange: UpstreamExchange) => unknown
  json?: (exchange: UpstreamExchange) => unknown
  badInput?: (exchange: UpstreamExchange) => unknown
  http10?: (exchange: UpstreamExchange) => unknown
  /** Whether it goes on when its client has left. */
  goesOn?: boolean
}

export const goodHead = (asked: string) =>
  [
    'HTTP/1.1 200 OK',
    'Content-Type: text/event-stream',
    'Cache-Control: no-cache, no-transform',
    'X-Accel-Buffering: no',
    ...(/^Connection: close/im.test(asked)
      ? ['Connection: close']
      : ['Connection: keep-alive', 'Keep-Alive: timeout=75']),
    'Transfer-Encoding: chunked',
  ].join('\r\n')

export const tokens = async (exchange: UpstreamExchange) => {
  for (let number = 0; number < 30; number++) {
    exchange.data(chatChunk(`${number} `))
    await later(2)
  }
  exchange.data(chatChunk('', 'stop'), '[DONE]')
}

/** A server of chats on a raw socket, with one thing wrong. */
export function startChatServer(quirks: Quirks = {}) {
  return startUpstream(async (exchange) => {
    const { head: asked, body, socket } = exchange
    if (asked.startsWith('GET')) return exchange.answer('200 OK', '{"data":[{"id":"a-model"}]}')
    const request = parsed(body)
    if (!request) {
      if (quirks.badInput) return quirks.badInput(exchange)
      return exchange.answer('400 Bad Request', '{"error":{"message":"no JSON"}}')
    }
    if (!request.stream) {
      if (quirks.json) return quirks.json(exchange)
      return exchange.answer('200 OK', '{"choices":[]}')
    }
    if (asked.includes('HTTP/1.0')) {
      if (quirks.http10) return quirks.http10(exchange)
      return exchange.raw('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: [DONE]\n\n').fin()
    }
    if (!quirks.goesOn) socket.on('end', () => socket.destroy())
    const head = goodHead(asked)
    exchange.raw(`${quirks.head?.(head, asked) ?? head}\r\n\r\n`)
    await (quirks.events ?? tokens)(exchange)
    if (quirks.afterStream) return quirks.afterStream(exchange)
    exchange.end()
    if (/^Connection: close/im.test(asked)) exchange.fin()
    return exchange
  })
}

export function parsed(body: string): { stream?: boolean } | undefined {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}
