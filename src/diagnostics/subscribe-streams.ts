import { checkFunction, checkNames, checkObject } from '../errors/bad-input.js'
import type { FailedOutcome, TimeoutPhase } from '../errors/outcomes.js'
import { channels, type StreamEnd } from './channels.js'

/** How an upstream was released, as a subscriber sees it; see {@link SocketCleanupReport}. */
export interface ReleasedUpstream {
  /** How the upstream went, for example `linger` or `destroy`. */
  readonly via: string
  /** Whether its sockets are closed, or given back for reuse. */
  readonly closed: boolean
  /** Whether a socket had to be cut. */
  readonly forced: boolean
  /** How long the release took, in milliseconds. */
  readonly durationMs: number
  /** Errors that the upstream raised while it was released. */
  readonly errors: readonly Error[]
}

/** The callbacks of {@link subscribeStreams}; each message carries the stream's `requestId`. */
export interface StreamSubscribers {
  /** A handler is about to run. */
  onStart?: ((message: { requestId: string; model: string | undefined }) => void) | undefined
  /** The headers of an event stream were sent. */
  onHead?: ((message: { requestId: string }) => void) | undefined
  /** A deadline passed; `timeoutMs` is the time that was allowed, in milliseconds. */
  onTimeout?:
    | ((message: { requestId: string; phase: TimeoutPhase; timeoutMs: number | undefined }) => void)
    | undefined
  /** An upstream was released. */
  onCleanup?: ((message: { requestId: string; report: ReleasedUpstream }) => void) | undefined
  /** A failure was reported to the client. */
  onReported?: ((message: ReportedFailure) => void) | undefined
  /** A stream has ended. */
  onEnd?: ((end: StreamEnd) => void) | undefined
}

/** A failure that was reported to a client. */
export interface ReportedFailure {
  /** The id of the stream. */
  readonly requestId: string
  /** How the stream ended. */
  readonly outcome: FailedOutcome
  /** The code that the client got. */
  readonly code: string
  /** Whether the headers had been sent: `true` for an error event, `false` for a status and JSON. */
  readonly headersSent: boolean
}

const byName = {
  onStart: channels.start,
  onHead: channels.head,
  onTimeout: channels.timeout,
  onCleanup: channels.cleanup,
  onReported: channels.reported,
  onEnd: channels.end,
} as const

/**
 * Calls back for every stream of this process, wherever it was started.
 *
 * @returns a function that ends the subscription
 * @throws TypeError for an unknown name, or a callback that is not a function
 * @see https://nodejs.org/api/diagnostics_channel.html
 * @example
 * const stop = subscribeStreams({ onEnd: ({ outcome, durationMs }) => console.log(outcome, durationMs) })
 */
export function subscribeStreams(subscribers: StreamSubscribers): () => void {
  checkObject('subscribers', subscribers)
  checkNames(subscribers, {
    owner: 'subscribers.',
    names: Object.keys(byName),
    instead: { onRecovery: 'onReported' },
  })
  const subscribed = Object.entries(subscribers).flatMap(([name, callback]) => {
    checkFunction(`subscribers.${name}`, callback)
    if (callback === undefined) return []
    const channel = byName[name as keyof typeof byName]
    const listener = (message: unknown) => callback(message as never)
    return [{ channel, listener }]
  })
  for (const { channel, listener } of subscribed) channel.subscribe(listener)
  return () => {
    for (const { channel, listener } of subscribed) channel.unsubscribe(listener)
  }
}
