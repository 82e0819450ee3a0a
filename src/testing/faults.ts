import { shown } from '../errors/bad-input.js'
import { type AnswerShape, answers, type UpstreamAnswer } from './answers.js'
import type { UpstreamExchange, UpstreamScript } from './scripted-upstream.js'

const longText = 'x'.repeat(64 * 1024)

/** Connections that have had a response. */
const used = new WeakSet<object>()

/** The faults of an upstream that gives this answer. */
export function faultsIn({ headers, begun: first, piece, end, error, errorBody }: UpstreamAnswer) {
  const isEvents = headers.includes('event-stream')
  const comment = isEvents ? ': processing\n\n' : '\n'
  const begun = (exchange: UpstreamExchange) => exchange.open(headers).chunk(first).chunk(piece('lo'))
  return {
    /** Sends a whole answer. */
    good: (exchange) => begun(exchange).chunk(end).end(),
    /** Takes the request and sends nothing. */
    silent: () => {},
    /** Resets the connection before any response. */
    resetBeforeHead: (exchange) => exchange.reset(),
    /** Closes the connection before any response. */
    finBeforeHead: (exchange) => exchange.fin(),
    /** Sends headers that never end. */
    slowHead: (exchange) => exchange.raw(`HTTP/1.1 200 OK\r\n${headers}\r\nX-More: `),
    /** Sends the headers, and never an event. */
    headOnly: (exchange) => exchange.open(headers),
    /** Resets the connection in the middle of an answer. */
    resetMidStream: async (exchange) => {
      await begun(exchange).reset()
    },
    /** Closes the connection in the middle of an answer. */
    finMidStream: (exchange) => {
      begun(exchange).fin()
    },
    /** Ends as HTTP ends a body, but not as a chat ends. */
    truncated: (exchange) => {
      begun(exchange).end()
    },
    /** Sends the headers, and ends without an event. */
    empty: (exchange) => exchange.open(headers).end(),
    /** Sends a whole answer, then resets the connection instead of ending the body. */
    resetAfterEnd: async (exchange) => {
      await begun(exchange).chunk(end).reset()
    },
    /** Sends a whole answer, and never ends the body. */
    keepsOpen: (exchange) => begun(exchange).chunk(end),
    /** Sends a whole answer to the first request of a connection, and closes the connection at the next one. */
    staleConnection: (exchange) => {
      if (used.has(exchange.socket)) return exchange.fin()
      used.add(exchange.socket)
      return begun(exchange).chunk(end).end()
    },
    /** Closes the connection in the middle of an event. */
    halfEvent: (exchange) => {
      begun(exchange).chunk(end.slice(0, 40)).fin()
    },
    /** Falls silent in the middle of an answer. */
    stalled: begun,
    /** Sends comments for ever, and never an event. */
    onlyComments: (exchange) => exchange.open(headers).every(20, () => exchange.chunk(comment)),
    /** Sends comments for ever in the middle of an answer. */
    pings: (exchange) => begun(exchange).every(20, () => exchange.chunk(comment)),
    /** Sends a token now and then, for ever. */
    drip: (exchange) => begun(exchange).every(20, () => exchange.chunk(piece('x'))),
    /** Sends more than any client reads, for ever. */
    flood: (exchange) => begun(exchange).every(0, () => exchange.chunk(piece(longText))),
    /** Sends a whole answer in chunks of one byte, which cut its characters. */
    splitUtf8: (exchange) => {
      begun(exchange)
      for (const byte of Buffer.from(piece('é😀').replaceAll('\n', '\r\n')))
        exchange.chunk(Uint8Array.of(byte))
      exchange.chunk(end).end()
    },
    /** Sends a line that never ends. */
    endlessLine: (exchange) =>
      exchange
        .open(headers)
        .chunk(isEvents ? 'data: ' : '{"')
        .every(0, () => exchange.chunk(longText)),
    /** Sends something that is not HTTP. */
    garbage: (exchange) => exchange.raw('\x00\xffnot HTTP at all\r\n\r\n'),
    /** Sends a chunk whose size is not a number. */
    badChunkSize: (exchange) => {
      begun(exchange).raw('zz\r\nbad\r\n')
    },
    /** Sends less than `Content-Length` promises. */
    shortBody: (exchange) => {
      exchange.raw(`HTTP/1.1 200 OK\r\n${headers}\r\nContent-Length: 9999\r\n\r\n`)
      exchange.raw(first + piece('lo')).fin()
    },
    /** Sends a web page instead of a stream. */
    webPage: (exchange) => exchange.answer('200 OK', '<html>Welcome</html>', 'Content-Type: text/html'),
    /** Sends status 200 and an error as JSON. */
    jsonError: (exchange) => exchange.answer('200 OK', errorBody(200, 'overloaded')),
    /** Sends an error event instead of the first token. */
    errorEvent: (exchange) => exchange.open(headers).chunk(error).end(),
    /** Sends an error event in the middle of an answer. */
    errorMidStream: (exchange) => begun(exchange).chunk(error).end(),
    /** Sends status 429 with `Retry-After`. */
    rateLimited: (exchange) =>
      exchange.answer('429 Too Many Requests', errorBody(429, 'slow down'), 'Retry-After: 7'),
    /** Sends status 500. */
    serverError: (exchange) => exchange.answer('500 Internal Server Error', errorBody(500, 'bug')),
    /** Sends status 500 and an error that never ends. */
    slowError: (exchange) =>
      exchange.open('Content-Type: application/json', '500 Internal Server Error').chunk('{"error":'),
  } as const satisfies Record<string, UpstreamScript>
}

/**
 * The faults of an upstream of `/chat/completions`, each a script for {@link startUpstream}; `good` has none.
 *
 * @example
 * await using upstream = await startUpstream(faults.resetMidStream)
 */
export const faults = faultsIn(answers.openai)

/** The name of one of the {@link faults}. */
export type FaultName = keyof typeof faults

/**
 * The same faults of an upstream whose answers have another shape: see {@link answers}.
 *
 * @throws TypeError for an unknown shape
 * @example
 * await using upstream = await startUpstream(faultsOf('anthropic').truncated)
 */
export function faultsOf(shape: AnswerShape): Record<FaultName, UpstreamScript> {
  if (Object.hasOwn(answers, shape)) return faultsIn(answers[shape])
  throw new TypeError(`faultsOf(shape) takes one of ${Object.keys(answers).join(', ')}; got ${shown(shape)}`)
}
