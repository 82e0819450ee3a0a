import type { Channel } from 'node:diagnostics_channel'
import type { FailedOutcome, StreamFailure, StreamOutcome, TimeoutPhase } from '../errors/stream-error.js'
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
 * What happened to one stream; written once, when it has ended. Holds no payload and no header itself;
 * `reason.cause` is what was thrown, as it was thrown.
 */
export interface StreamEnd {
  /** How it ended. */
  outcome: StreamOutcome
  /** Why the stream did not complete. */
  reason: StreamFailure | undefined
  /** The deadline that passed, for the outcomes `timeout` and `client_stalled`. */
  phase: TimeoutPhase | undefined
  /** What the response says in `x-request-id`, if it says that. */
  requestId: string
  /** The model that was asked for, if known. */
  model: string | undefined
  /** The HTTP status that was sent; `undefined` when the client left before any. */
  status: number | undefined
  /** From the start to the first byte or event of the upstream. */
  ttfbMs: number | undefined
  /** From the start to the end, in milliseconds. */
  durationMs: number
  /** The longest silence between two signs of life of the upstream. */
  longestGapMs: number
  /** Events written to the client, the closing and error events included. */
  events: number
  /** Bytes of the event stream written to the client. */
  bytes: number
  /** Comments and empty deltas sent because nothing else came. */
  heartbeats: number
  /** Whether the stream said that it was complete; not where its client could not be told any more. */
  sawTerminal: boolean
  /** How often `openUpstream` has retried. */
  retries: number
  /** Failures that came after the stream had its outcome, by their outcome; at most eight are kept. */
  suppressed: readonly FailedOutcome[]
}

/** Asked for at run time: a fetch handler may run where there is no Node. */
const diagnosticsChannel = globalThis.process?.getBuiltinModule?.('node:diagnostics_channel')

function channel(name: string): Channel {
  return diagnosticsChannel?.channel(name) ?? silentChannel(name)
}

function silentChannel(name: string): Channel {
  return { name, hasSubscribers: false, publish() {}, subscribe() {}, unsubscribe: () => false } as Pick<
    Channel,
    'name' | 'hasSubscribers' | 'publish' | 'subscribe' | 'unsubscribe'
  > as Channel
}

/** The `diagnostics_channel` names; each message carries the `requestId`. */
export const channels = {
  /** A handler is about to run: `{ requestId, model }`. */
  start: channel('unhang:stream:start'),
  /** The head of an event stream was sent: `{ requestId }`. */
  head: channel('unhang:stream:head'),
  /** A deadline passed: `{ requestId, phase, timeoutMs }`. */
  timeout: channel('unhang:stream:timeout'),
  /** An upstream was released: `{ requestId, report }`. */
  cleanup: channel('unhang:stream:cleanup'),
  /** A failure was reported to the client: `{ requestId, outcome, code, headersSent }`. */
  reported: channel('unhang:stream:reported'),
  /** The {@link StreamEnd}. */
  end: channel('unhang:stream:end'),
}

const warned = new Set<string>()
const mostWarnings = 100

/** A warning about a setting that cannot do what it says, once per process and wording. */
export function warnOnce(message: string): void {
  if (warned.has(message) || warned.size >= mostWarnings) return
  warned.add(message)
  const { process } = globalThis as { process?: Partial<NodeJS.Process> }
  if (process?.emitWarning) process.emitWarning(message, 'UnhangWarning')
  else console.warn(`UnhangWarning: ${message}`)
}
