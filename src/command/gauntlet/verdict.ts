import { createParser } from 'eventsource-parser'
import { type EventRole, jsonOf } from '../../dialects/dialect.js'
import { dialects } from '../../dialects/index.js'
import type { Quote } from '../../doctor/quote.js'
import type { AnswerShape, RawClient } from '../../testing/index.js'

/** The result for the client of a proxy, or the proxy's behaviour for a client that was gone (`leak`). */
export type Verdict = 'fine' | 'reported' | 'silent truncation' | 'cut' | 'hang' | 'leak'

/** The observations of one trial. */
export interface Finding {
  readonly verdict: Verdict
  /** The evidence of the verdict. */
  readonly evidence: string
  /** A mistake although the verdict is right. */
  readonly problem?: string | undefined
  /** Whose bytes `--verbose` shows. */
  readonly client?: RawClient | undefined
}

/** The response that a client received, read by the rules of its API. */
export interface Reading {
  readonly finding: Finding
  readonly status: number
  /** The text of the answer. */
  readonly text: string
  readonly roles: readonly EventRole[]
}

const dialectOf = {
  openai: dialects.openaiChat,
  openaiResponses: dialects.openaiResponses,
  anthropic: dialects.anthropic,
  gemini: dialects.gemini,
  ollama: dialects.ollama,
} as const satisfies Record<AnswerShape, unknown>

/**
 * Reads what a client got.
 *
 * @param about.isOver whether it came to an end in time
 * @param about.isWhole whether the upstream sent a whole answer
 */
export function read(
  client: RawClient,
  shape: AnswerShape,
  about: { isOver: boolean; isWhole: boolean; quote: Quote },
): Reading {
  const body = bodyOf(client)
  const { events, rest } = eventsOf(client, shape, body.bytes.toString())
  const state = dialectOf[shape].follow()
  const roles = events.map((event) => (isBroken(event.data) ? 'broken' : state.observe(event)))
  const seen = {
    roles: roles.filter((role) => role !== 'broken'),
    status: client.status,
    text: textOf(events),
  }
  const give = (verdict: Verdict, evidence: string, problem?: string): Reading => ({
    ...seen,
    finding: { verdict, evidence, problem, client },
  })
  const came = client.status === 0 ? 'nothing' : events.length === 0 ? 'headers' : `${events.length} events`
  const { status, ending } = client
  if (body.fault) return give('cut', `bytes that are not HTTP: ${about.quote(body.fault)}`)
  if (!about.isOver) return give('hang', `${came} came, and the connection is still open`)
  const ended = ending === 'reset' ? 'reset' : 'closed'
  if (status === 0) return give('cut', `the connection was ${ended} without a response`)
  if (!body.complete)
    return give('cut', `the connection was ${ended} in the middle of the body, after ${came}`)
  if (status >= 400) return give('reported', describeStatus(client, about.quote))
  if (roles.includes('broken') || rest !== '')
    return give('cut', `half an event: ${about.quote(rest || lastBroken(events))}`)
  const errorAt = roles.indexOf('error')
  if (errorAt !== -1) {
    const more = roles.slice(errorAt + 1).some((role) => role !== 'terminal')
    return give(
      'reported',
      `an error event after ${errorAt} events`,
      more ? 'something follows the error event' : undefined,
    )
  }
  if (!state.complete)
    return give(
      'silent truncation',
      `the body ends well after ${came}, and nothing says that more is missing`,
    )
  if (!about.isWhole) return give('silent truncation', 'the answer is said to be complete, and it is not')
  const ends = roles.filter((role) => role === 'terminal').length
  return give(
    'fine',
    `a whole answer of ${events.length} events`,
    ends > 1 ? `${ends} terminal events` : undefined,
  )
}

/** An error status, and what its body says. */
function describeStatus({ status, bodyText }: RawClient, quote: Quote): string {
  const { error } = jsonOf<{ error: unknown }>(bodyText) ?? {}
  const { message = error } = Object(error) as { message?: unknown }
  if (typeof message === 'string') return `status ${status}, ${quote(message)}`
  return bodyText === ''
    ? `status ${status} without a body`
    : `status ${status}, not JSON: ${quote(bodyText)}`
}

interface Event {
  data: string
  event?: string | undefined
}

function eventsOf(client: RawClient, shape: AnswerShape, text: string): { events: Event[]; rest: string } {
  if (dialectOf[shape].framing === 'ndjson') {
    const lines = text.split('\n')
    const rest = lines.pop() ?? ''
    return { events: lines.filter((line) => line.trim() !== '').map((data) => ({ data })), rest }
  }
  if (!/^text\/event-stream\b/i.test(client.header('content-type') ?? '')) return { events: [], rest: '' }
  const events: Event[] = []
  createParser({ onEvent: (event) => events.push(event) }).feed(text)
  const ends = blankLines.map((blank) => (text.includes(blank) ? text.lastIndexOf(blank) + blank.length : 0))
  const last = text.slice(Math.max(...ends))
  const isNothing = last.split(/[\r\n]/).every((line) => line === '' || line.startsWith(':'))
  return { events, rest: isNothing ? '' : last }
}

/** Between two events. */
const blankLines = ['\n\n', '\r\r', '\r\n\r\n']

function bodyOf(client: RawClient): { bytes: Buffer; complete: boolean; fault?: string } {
  if (client.bytes.length > 0 && !'HTTP/1.'.startsWith(client.bytes.toString('latin1', 0, 7)))
    return { bytes: Buffer.alloc(0), complete: false, fault: client.bytes.toString('latin1', 0, 40) }
  try {
    return client.body
  } catch (error) {
    return { bytes: Buffer.alloc(0), complete: false, fault: (error as Error).message }
  }
}

function isBroken(data: string): boolean {
  if (data === '[DONE]') return false
  try {
    JSON.parse(data)
    return false
  } catch {
    return true
  }
}

function lastBroken(events: readonly Event[]): string {
  return events.filter(({ data }) => isBroken(data)).at(-1)?.data ?? ''
}

/** Only the beginning is compared; the rest may be megabytes. */
const maxRead = 10

/** The text of an answer in any of the shapes. */
function textOf(events: readonly Event[]): string {
  return events
    .slice(0, maxRead)
    .flatMap(({ data }) => [...data.matchAll(/"(?:content|text|delta)": *("(?:[^"\\]|\\.)*")/g)])
    .map(([, text = '""']) => JSON.parse(text) as string)
    .join('')
}
