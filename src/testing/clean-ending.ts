import { AssertionError } from 'node:assert'
import { shown } from '../errors/bad-input.js'

/** What a client has received; a {@link RawClient} is one. */
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
 * Asserts that a client of `/chat/completions` got an ending that it understands.
 *
 * Either a status from 400 with `{"error": {"message"}}`; or an event stream of whole events in a complete body that
 * ends with `[DONE]` or with one error event.
 *
 * @param client a client that has `finished()`
 * @returns the error that was reported to it, or `undefined` for a complete answer
 * @throws AssertionError that says what is wrong and shows the end of what was received
 * @example
 * using client = await rawRequest({ port, body: { stream: true } }).finished()
 * const failure = assertCleanEnding(client)
 */
export function assertCleanEnding(client: ReceivedAnswer): ToldError | undefined {
  const { status } = Object(client) as Partial<ReceivedAnswer>
  if (typeof status !== 'number' || typeof client.text !== 'string') {
    const hint = client instanceof Promise ? '; await it first' : ''
    throw new TypeError(
      `assertCleanEnding(client) takes what rawRequest() returns, got ${shown(client)}${hint}`,
    )
  }
  const demand = (holds: unknown, what: string): void => {
    if (holds) return
    const end = client.text.slice(-300)
    throw new AssertionError({
      message: `${what}. Received ${client.text.length} characters, the last:\n${end}`,
    })
  }
  demand(status > 0, `no answer came (${client.ending ?? 'the connection stands'})`)
  demand(client.body.complete, `the body was cut (${client.ending ?? 'the connection stands'})`)
  if (status >= 400) {
    const error = parse(client.bodyText)?.error as { message?: unknown; code?: unknown } | undefined
    demand(typeof error?.message === 'string', 'an error status without {"error": {"message"}}')
    return { status, message: String(error?.message), code: error?.code }
  }
  const isStream = /^text\/event-stream\b/i.test(client.header('content-type') ?? '')
  demand(isStream, `status ${status} with ${client.header('content-type')} instead of an event stream`)
  const { data } = client
  demand(data.length > 0, 'an event stream without an event')
  const [rest = ''] = client.bodyText.split(/(?:\r\n|\r(?!\n)|\n){2}/).slice(-1)
  demand(/^(?::.*\s*|\s*)*$/.test(rest), 'an event that has begun and is not whole')
  const events = data.map((json) => (json === '[DONE]' ? { done: true } : parse(json)))
  demand(
    events.every((event) => event !== undefined),
    'an event that is no JSON',
  )
  const errors = events.filter((event) => event?.error)
  const isDone = events.at(-1)?.done === true
  demand(errors.length <= 1, `${errors.length} error events`)
  demand(events.filter((event) => event?.done).length === (isDone ? 1 : 0), '[DONE] is not the last event')
  if (errors.length === 0) {
    demand(isDone, 'a stream that simply ends: no [DONE], no error event')
    return undefined
  }
  demand(!isDone && events.at(-1) === errors[0], 'something follows the error event')
  const [error] = errors
  const { message = error?.error, code } = Object(error?.error) as { message?: unknown; code?: unknown }
  return { status, message: String(message), code }
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const json: unknown = JSON.parse(text)
    return typeof json === 'object' && json !== null ? (json as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
