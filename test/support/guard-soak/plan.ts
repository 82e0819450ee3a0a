import { chatChunk } from '../chat.js'
import { randomFrom } from '../random.js'
import { handlers } from './handlers.js'

/** The faults of an upstream, and how the record of the stream reports them. `resets` waits until the client has all. */
const outcomes = {
  good: 'completed',
  slow: 'completed',
  endsEarly: 'upstream_truncated',
  hangsUp: 'upstream_hangup',
  halfEvent: 'upstream_hangup',
  resets: 'upstream_hangup',
  resetsAtOnce: 'upstream_hangup',
  resetsBeforeHead: 'upstream_hangup',
  fallsSilent: 'timeout',
  errorEvent: 'upstream_error',
} as const

type Fault = keyof typeof outcomes

/** Everything about one stream. Each of the processes draws it for itself, from the seed and the number. */
export interface Plan {
  number: number
  fault: Fault
  handler: keyof typeof handlers
  /** The events before the fault. */
  events: object[]
  /** The client leaves when it has so many events. Not set: it stays to the end. */
  leavesAfter: number | undefined
  /** How long a slow upstream waits before each of its events. */
  pauseMs: number
}

/** How the head of a request says which stream it is. */
export const idOf = (number: number) => `soak-${number}`
export const numberOf = (id: unknown) => Number(String(id).slice('soak-'.length))

export const half = 'data: {"id":"chatcmpl-1","choi'
export const errorEvent = { error: { message: 'overloaded', code: 503 } }
export const ending = [chatChunk('', 'stop'), '[DONE]']

const faults = Object.keys(outcomes) as Fault[]
const handlerNames = Object.keys(handlers) as Plan['handler'][]

export function planOf(seed: number, number: number): Plan {
  const random = randomFrom(seed * 1_000_003 + number)
  const below = (limit: number) => Math.floor(random() * limit)
  const pick = <T>(from: readonly T[]) => from[below(from.length)] as T
  const fault = pick(faults)
  const length = fault === 'resetsBeforeHead' ? 0 : 1 + below(8)
  const filling = pick(['', '', 'é😀', 'x'.repeat(3_000)])
  return {
    number,
    fault,
    handler: pick(handlerNames),
    events: Array.from({ length }, (_, index) => chatChunk(`${number}.${index} ${filling}`)),
    leavesAfter: random() < 0.25 ? below(length + 1) : undefined,
    pauseMs: 5 + below(100),
  }
}

/** How the record of a stream may say that it ended. */
export function outcomesOf({ fault, leavesAfter }: Plan): string[] {
  return leavesAfter === undefined ? [outcomes[fault]] : [outcomes[fault], 'client_gone']
}

/** A stream, for the report of a mistake. */
export const shown = ({ events, ...plan }: Plan) => JSON.stringify({ ...plan, events: events.length })
