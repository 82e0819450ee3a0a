import type { UpstreamScript } from './scripted-upstream.js'

/** One chunk of a chat. */
function chunk(content: string, finishReason: string | null = null): object {
  return {
    id: 'chatcmpl-test',
    object: 'chat.completion.chunk',
    created: 1,
    model: 'test-model',
    choices: [{ index: 0, delta: content === '' ? {} : { content }, finish_reason: finishReason }],
  }
}

const begun: UpstreamScript = (exchange) => exchange.open().data(chunk('Hel'), chunk('lo'))
const longEvent = 'x'.repeat(64 * 1024)

/**
 * The faults of an upstream of `/chat/completions`, each a script for {@link startUpstream}; `good` has none.
 *
 * @example
 * await using upstream = await startUpstream(faults.resetMidStream)
 */
export const faults = {
  /** Sends a whole answer. */
  good: (exchange) => exchange.open().data(chunk('Hel'), chunk('lo'), chunk('', 'stop'), '[DONE]').end(),
  /** Takes the request and sends nothing. */
  silent: () => {},
  /** Resets the connection before any response. */
  resetBeforeHead: (exchange) => exchange.reset(),
  /** Closes the connection before any response. */
  finBeforeHead: (exchange) => exchange.fin(),
  /** Sends headers that never end. */
  slowHead: (exchange) => exchange.raw('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-More: '),
  /** Sends the headers, and never an event. */
  headOnly: (exchange) => exchange.open(),
  /** Resets the connection in the middle of an answer. */
  resetMidStream: async (exchange) => {
    await begun(exchange)
    await exchange.reset()
  },
  /** Closes the connection in the middle of an answer. */
  finMidStream: (exchange) => {
    begun(exchange)
    exchange.fin()
  },
  /** Ends as HTTP ends a body, but not as a chat ends. */
  truncated: (exchange) => {
    begun(exchange)
    exchange.end()
  },
  /** Closes the connection in the middle of an event. */
  halfEvent: (exchange) => {
    begun(exchange)
    exchange.chunk('data: {"id":"chatcmpl-test","choi').fin()
  },
  /** Falls silent in the middle of an answer. */
  stalled: begun,
  /** Sends comments for ever, and never an event. */
  onlyComments: (exchange) => exchange.open().every(20, () => exchange.chunk(': processing\n\n')),
  /** Sends a token now and then, for ever. */
  drip: (exchange) => exchange.open().every(20, () => exchange.data(chunk('x'))),
  /** Sends more than any client reads, for ever. */
  flood: (exchange) => exchange.open().every(0, () => exchange.data(chunk(longEvent))),
  /** Sends a whole answer in chunks of one byte, which cut its characters. */
  splitUtf8: (exchange) => {
    const event = Buffer.from(`data: ${JSON.stringify(chunk('é😀'))}\r\n\r\n`)
    exchange.open()
    for (const byte of event) exchange.chunk(Uint8Array.of(byte))
    exchange.data(chunk('', 'stop'), '[DONE]').end()
  },
  /** Sends a line that never ends. */
  endlessLine: (exchange) =>
    exchange
      .open()
      .chunk('data: ')
      .every(0, () => exchange.chunk(longEvent)),
  /** Sends something that is not HTTP. */
  garbage: (exchange) => exchange.raw('\x00\xffnot HTTP at all\r\n\r\n'),
  /** Sends a chunk whose size is not a number. */
  badChunkSize: (exchange) => {
    begun(exchange)
    exchange.raw('zz\r\nbad\r\n')
  },
  /** Sends less than `Content-Length` promises. */
  shortBody: (exchange) => {
    exchange.raw('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9999\r\n\r\n')
    exchange.raw(`data: ${JSON.stringify(chunk('Hello'))}\n\n`).fin()
  },
  /** Sends a web page instead of a stream. */
  webPage: (exchange) => exchange.answer('200 OK', '<html>Welcome</html>', 'Content-Type: text/html'),
  /** Sends status 200 and an error as JSON. */
  jsonError: (exchange) => exchange.answer('200 OK', '{"error":{"message":"overloaded"}}'),
  /** Sends an error event instead of the first token. */
  errorEvent: (exchange) =>
    exchange
      .open()
      .data({ error: { message: 'overloaded', code: 503 } })
      .end(),
  /** Sends status 429 with `Retry-After`. */
  rateLimited: (exchange) =>
    exchange.answer('429 Too Many Requests', '{"error":{"message":"slow down"}}', 'Retry-After: 7'),
  /** Sends status 500. */
  serverError: (exchange) => exchange.answer('500 Internal Server Error', '{"error":{"message":"bug"}}'),
} as const satisfies Record<string, UpstreamScript>

/** The name of one of the {@link faults}. */
export type FaultName = keyof typeof faults
