import { AssertionError } from 'node:assert'
import { shown } from '../errors/bad-input.js'
import { framingOf } from '../framing/framings.js'
import type { AnswerShape } from './answers.js'
import { endingRules, type ParsedEvent } from './ending-rules.js'

/** The bytes that a client has received; a {@link RawClient} is one. */
export interface ReceivedAnswer {
  /** The HTTP status; 0 before the headers have come. */
  readonly status: number
  /** Returns a header of the response. */
  header(name: string): string | undefined
  /** The body as text, without its chunk framing. */
  readonly bodyText: string
  /** The data of each event so far. */
  readonly data: readonly string[]
  /** Whether the body was ended as HTTP ends a body. */
  readonly body: {
    /** Whether its last byte has come. */
    readonly complete: boolean
  }
  /** How the connection ended; `undefined` while it stands. */
  readonly ending: string | undefined
  /** All that was received, as text. */
  readonly text: string
}

/** How a failed request was reported to its client. */
export interface ToldError {
  /** The status of the response; 200 when the error came as an event. */
  status: number
  /** A sentence for people. */
  message: string
  /** The code for programs. */
  code: unknown
}

/**
 * Asserts that a client of a streaming request got an ending that it understands.
 *
 * Either an error status with the API's JSON; or a stream of whole events in a complete body, which ends with the last
 * event of a good answer or with one error event.
 *
 * @param client a client that has `finished()`
 * @param shape the API whose clients these are. Not set: `openai`, the chats
 * @returns the error that was reported to it, or `undefined` for a complete answer
 * @throws AssertionError that names the mistake and shows the end of the received bytes
 * @throws TypeError for anything but a client, or a shape
 * @example
 * using client = await rawRequest({ port, body: { stream: true } }).finished()
 * const failure = assertCleanEnding(client)
 */
export function assertCleanEnding(
  client: ReceivedAnswer,
  shape: AnswerShape = 'openai',
): ToldError | undefined {
  const { status } = Object(client) as Partial<ReceivedAnswer>
  if (typeof status !== 'number' || typeof client.text !== 'string') {
    const hint = client instanceof Promise ? '; await it first' : ''
    throw new TypeError(
      `assertCleanEnding(client) takes the result of rawRequest(), got ${shown(client)}${hint}`,
    )
  }
  if (!Object.hasOwn(endingRules, shape)) {
    const shapes = Object.keys(endingRules).join(', ')
    throw new TypeError(`assertCleanEnding(client, shape) takes one of ${shapes}; got ${shown(shape)}`)
  }
  const rules = endingRules[shape]
  const demand = (holds: unknown, what: string): void => {
    if (holds) return
    const end = client.text.slice(-300)
    throw new AssertionError({
      message: `${what}. Received ${client.text.length} characters, the last:\n${end}`,
    })
  }
  demand(status > 0, `no response came (${client.ending ?? 'the connection stands'})`)
  demand(client.body.complete, `the body was cut (${client.ending ?? 'the connection stands'})`)
  if (status >= 400) {
    const body = parse(client.bodyText) ?? {}
    demand(rules.isErrorBody(body), `an error status without ${rules.errorBody}`)
    const { message, code } = rules.errorIn(body) ?? {}
    return { status, message: String(message), code }
  }
  const type = client.header('content-type')
  demand(
    framingOf(type)?.name === rules.framing,
    `status ${status} with ${type} instead of ${streams[rules.framing]}`,
  )
  const texts = rules.framing === 'sse' ? client.data : linesOf(client.bodyText)
  demand(texts.length > 0, `${streams[rules.framing]} without an event`)
  const [open = ''] = client.bodyText.split(blockEnds[rules.framing]).slice(-1)
  demand(/^(?::.*\s*|\s*)*$/.test(open), 'an event that has begun and is not whole')
  const events = texts.map((data) => ({ data, json: data === '[DONE]' ? {} : parse(data) }))
  demand(
    events.every(({ json }) => json !== undefined),
    'an event that is not JSON',
  )
  const parsed = events as ParsedEvent[]
  const errors = parsed.filter(({ json }) => rules.errorIn(json))
  demand(errors.length <= 1, `${errors.length} error events`)
  const [error] = errors
  if (error) demand(parsed.at(-1) === error, 'something follows the error event')
  const rest = error ? parsed.slice(0, -1) : parsed
  const { lastWord } = rules
  const end = rules.endOf(rest)
  if (!error) demand(end !== -1, `a stream that simply ends: no ${lastWord}, no error event`)
  demand(end === -1 || end === parsed.length - 1, `${lastWord} is not the last event`)
  if (!error) return undefined
  const { message, code } = rules.errorIn(error.json) ?? {}
  return { status, message: String(message), code }
}

const streams = { sse: 'an event stream', ndjson: 'JSON lines' }
const blockEnds = { sse: /(?:\r\n|\r(?!\n)|\n){2}/, ndjson: /\n/ }

const linesOf = (text: string) => text.split('\n').filter((line) => line.trim() !== '')

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const json: unknown = JSON.parse(text)
    return typeof json === 'object' && json !== null ? (json as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
