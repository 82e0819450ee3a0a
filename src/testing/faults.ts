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

/** What an upstream of `/chat/completions` may do to a proxy, ready for `startUpstream`. `good` does nothing. */
export const faults = {
  /** A whole answer. */
  good: (exchange) => exchange.open().data(chunk('Hel'), chunk('lo'), chunk('', 'stop'), '[DONE]').end(),
  /** Takes the request and says nothing. */
  silent: () => {},
  /** Resets the connection before it has answered. */
  resetBeforeHead: (exchange) => exchange.reset(),
  /** Closes the connection before it has answered. */
  finBeforeHead: (exchange) => exchange.fin(),
  /** A head that never ends. */
  slowHead: (exchange) => exchange.raw('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-More: '),
  /** Everything but an event. */
  headOnly: (exchange) => exchange.open(),
  /** Resets the connection in mid-answer. */
  resetMidStream: async (exchange) => {
    await begun(exchange)
    await exchange.reset()
  },
  /** Closes the connection in mid-answer. */
  finMidStream: (exchange) => {
    begun(exchange)
    exchange.fin()
  },
  /** Ends as HTTP ends a body, but not as a chat ends. */
  truncated: (exchange) => {
    begun(exchange)
    exchange.end()
  },
  /** Stops in the middle of an event. */
  halfEvent: (exchange) => {
    begun(exchange)
    exchange.chunk('data: {"id":"chatcmpl-test","choi').fin()
  },
  /** Falls silent in the middle of an answer. */
  stalled: begun,
  /** Says that it is alive, and never anything else. */
  onlyComments: (exchange) => exchange.open().every(20, () => exchange.chunk(': processing\n\n')),
  /** A token now and then, for ever. */
  drip: (exchange) => exchange.open().every(20, () => exchange.data(chunk('x'))),
  /** More than any client reads, for ever. */
  flood: (exchange) => exchange.open().every(0, () => exchange.data(chunk(longEvent))),
  /** Characters cut in the middle, a byte in a chunk. */
  splitUtf8: (exchange) => {
    const event = Buffer.from(`data: ${JSON.stringify(chunk('é😀'))}\r\n\r\n`)
    exchange.open()
    for (const byte of event) exchange.chunk(Uint8Array.of(byte))
    exchange.data(chunk('', 'stop'), '[DONE]').end()
  },
  /** A line without an end. */
  endlessLine: (exchange) =>
    exchange
      .open()
      .chunk('data: ')
      .every(0, () => exchange.chunk(longEvent)),
  /** Answers with no HTTP. */
  garbage: (exchange) => exchange.raw('\x00\xffnot HTTP at all\r\n\r\n'),
  /** A chunk whose size is no number. */
  badChunkSize: (exchange) => {
    begun(exchange)
    exchange.raw('zz\r\nbad\r\n')
  },
  /** Less than it promised. */
  shortBody: (exchange) => {
    exchange.raw('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9999\r\n\r\n')
    exchange.raw(`data: ${JSON.stringify(chunk('Hello'))}\n\n`).fin()
  },
  /** A page where a stream was asked for. */
  webPage: (exchange) => exchange.answer('200 OK', '<html>Welcome</html>', 'Content-Type: text/html'),
  /** Status 200, and an error as JSON. */
  jsonError: (exchange) => exchange.answer('200 OK', '{"error":{"message":"overloaded"}}'),
  /** An error where the first token should be. */
  errorEvent: (exchange) =>
    exchange
      .open()
      .data({ error: { message: 'overloaded', code: 503 } })
      .end(),
  /** Status 429. */
  rateLimited: (exchange) =>
    exchange.answer('429 Too Many Requests', '{"error":{"message":"slow down"}}', 'Retry-After: 7'),
  /** Status 500. */
  serverError: (exchange) => exchange.answer('500 Internal Server Error', '{"error":{"message":"bug"}}'),
} as const satisfies Record<string, UpstreamScript>

/** The name of a fault. */
export type FaultName = keyof typeof faults
