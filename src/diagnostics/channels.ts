import type { Channel } from 'node:diagnostics_channel'
import type { FailedOutcome, StreamOutcome, TimeoutPhase } from '../errors/outcomes.js'
import type { StreamFailure } from '../errors/stream-error.js'
import { debugLog } from './debug-log.js'

/** `DEBUG=unhang:*` shows all of these on stderr. */
export const log = {
  stream: debugLog('unhang:stream'),
  timeout: debugLog('unhang:timeout'),
  cleanup: debugLog('unhang:cleanup'),
  hangup: debugLog('unhang:hangup'),
  drain: debugLog('unhang:drain'),
}

/**
 * The record of one stream, written once when it has ended; times are in milliseconds.
 *
 * It holds no message text and no headers. Exception: `reason.cause` is the original error.
 *
 * @example
 * subscribeStreams({ onEnd: (end: StreamEnd) => console.log(end.requestId, end.outcome, end.durationMs) })
 */
export interface StreamEnd {
  /** How the stream ended. */
  outcome: StreamOutcome
  /** Why the stream did not complete. */
  reason: StreamFailure | undefined
  /** The deadline that passed, for the outcomes `timeout` and `client_stalled`. */
  phase: TimeoutPhase | undefined
  /** The id of the stream, as in `x-request-id` of its response. */
  requestId: string
  /** The requested model, if known. */
  model: string | undefined
  /** The HTTP status that was sent; `undefined` when the client left before any. */
  status: number | undefined
  /** From the start to the first byte or event of the upstream, in milliseconds; `undefined` if none came. */
  ttfbMs: number | undefined
  /** From the start to the end, in milliseconds. */
  durationMs: number
  /** The longest silence between two signs of life of the upstream, in milliseconds. */
  maxGapMs: number
  /** Events written to the client, including closing and error events. */
  events: number
  /** Bytes of the event stream written to the client. */
  bytes: number
  /** Heartbeats sent because nothing else came: comments and empty deltas. */
  heartbeats: number
  /** Whether the stream said that it was complete; `false` if its client could no longer be reached. */
  sawTerminal: boolean
  /** How many times `openUpstream` has retried. */
  retries: number
  /** How many upstream event streams of a guarded handler went on when its stream had failed; `0` in a streaming route. */
  upstreamsLeftRunning: number
  /** The tokens of the stream; `undefined` for one that could not be read, say a compressed one, and for one that is replayed. */
  usage: StreamUsage | undefined
  /** The id of a recorded stream, also in the records of clients that rejoin it; `undefined` if it is not recorded. */
  streamId: string | undefined
  /** Whether all of the stream was recorded, so that its client can rejoin it. */
  recorded: boolean
  /** Whether the stream went on after its client had left. */
  detached: boolean
  /** Failures after the outcome was fixed, by their outcome; at most eight are kept. */
  suppressed: readonly FailedOutcome[]
}

/**
 * How much a model has read and written for one stream.
 *
 * @example
 * subscribeStreams({ onEnd: ({ model, usage }) => console.log(model, usage?.outputTokens, usage?.source) })
 */
export interface StreamUsage {
  /** Tokens of the request, if the upstream has said how many. */
  inputTokens?: number
  /** Tokens of the answer; where the upstream has not said how many, the events that held a piece of it. */
  outputTokens?: number
  /** All tokens, if the upstream has said how many. */
  totalTokens?: number
  /** Whether the upstream has reported what it wrote, or unhang has only counted events. */
  source: 'reported' | 'counted'
}

/** Asked for at run time: a fetch handler may run where there is no Node. */
const diagnosticsChannel = globalThis.process?.getBuiltinModule?.('node:diagnostics_channel')

function channel(name: string): Channel {
  const silent: Partial<Channel> = { name, hasSubscribers: false, publish() {}, subscribe() {} }
  return diagnosticsChannel?.channel(name) ?? ({ ...silent, unsubscribe: () => false } as Channel)
}

/**
 * The channels of `node:diagnostics_channel` on which unhang publishes; each message carries the `requestId`.
 *
 * {@link subscribeStreams} is the typed way to listen.
 *
 * @see https://nodejs.org/api/diagnostics_channel.html
 * @example
 * channels.end.subscribe((message) => console.log((message as StreamEnd).outcome))
 */
export const channels = {
  /** A handler is about to run: `{ requestId, model }`. */
  start: channel('unhang:stream:start'),
  /** The headers of an event stream were sent: `{ requestId }`. */
  head: channel('unhang:stream:head'),
  /** A deadline passed: `{ requestId, phase, timeoutMs }`. */
  timeout: channel('unhang:stream:timeout'),
  /** An upstream was released: `{ requestId, report }`. */
  cleanup: channel('unhang:stream:cleanup'),
  /** A failure was reported to the client: `{ requestId, outcome, code, headersSent }`. */
  reported: channel('unhang:stream:reported'),
  /** A stream has ended: its {@link StreamEnd}. */
  end: channel('unhang:stream:end'),
}

const warned = new Set<string>()
const maxWarnings = 100

/** A warning about a setting that cannot do what it says, once per process and wording. */
export function warnOnce(message: string): void {
  if (warned.has(message) || warned.size >= maxWarnings) return
  warned.add(message)
  const { process } = globalThis as { process?: Partial<NodeJS.Process> }
  if (process?.emitWarning) process.emitWarning(message, 'UnhangWarning')
  else console.warn(`UnhangWarning: ${message}`)
}
