import { createParser } from 'eventsource-parser'
import { expect } from 'vitest'
import type { StreamEnd } from '../../../src/index.js'
import { heartbeatPattern } from '../chat.js'

/** A client's view of one exchange, over any protocol. */
export interface Seen {
  status: number
  headers: Record<string, string>
  text: string
  /** How the body ended: as HTTP ends one, or by a cut. */
  ending: 'complete' | 'cut'
  /** The last piece that came, as the protocol frames it. */
  lastPiece: string
}

/** The data lines, but for heartbeats. */
export function dataOf({ text }: Seen): string[] {
  return [...text.matchAll(/^data: (.*)$/gm)]
    .map(([, value]) => value ?? '')
    .filter((data) => !isHeartbeat(data))
}

/** The answer of the model. */
function saidIn(result: Seen): string {
  return dataOf(result)
    .filter((json) => json !== '[DONE]')
    .map((json) => JSON.parse(json).choices?.[0]?.delta?.content ?? '')
    .join('')
}

export function errorsIn(result: Seen): string[] {
  return dataOf(result).filter((json) => json.startsWith('{"error"'))
}

/** A stream that was complete. */
export function expectAnswer(result: Seen, text: string): void {
  expect(result).toMatchObject({ status: 200, ending: 'complete' })
  expect(saidIn(result)).toBe(text)
  expect(dataOf(result).filter((json) => json === '[DONE]')).toHaveLength(1)
  expect(dataOf(result).at(-1)).toBe('[DONE]')
}

/** A stream that has failed: the events before, one error event, and a clean end. */
export function expectFailure(result: Seen, text: string, code: string): void {
  expect(result.status).toBe(200)
  expect(result.ending).toBe('complete')
  expect(saidIn(result)).toBe(text)
  const errors = errorsIn(result)
  expect(errors).toHaveLength(1)
  expect(dataOf(result).at(-1)).toBe(errors[0])
  expect(JSON.parse(errors[0] ?? '').error.code).toBe(code)
}

const isHeartbeat = (data: string) => heartbeatPattern.test(`data: ${data}`)

/** The record counts the client's bytes: each event, the error event among them, and each byte. */
export function expectCounts({ events, bytes, heartbeats }: StreamEnd, { status, text }: Seen): void {
  const received = { events: 0, heartbeats: 0 }
  const parser = createParser({
    onEvent: ({ data }) => (isHeartbeat(data) ? received.heartbeats++ : received.events++),
    onComment: () => received.heartbeats++,
  })
  // Of an error body there is nothing to count.
  const stream = status === 200 ? text : ''
  parser.feed(stream)
  expect({ events, bytes, heartbeats }).toEqual({
    events: received.events,
    bytes: Buffer.byteLength(stream),
    heartbeats: received.heartbeats,
  })
}
