import { checkNames, checkObject, shown } from '../errors/bad-input.js'
import type { FailedOutcome, TimeoutPhase } from '../errors/stream-error.js'
import { channels, type StreamEnd } from './channels.js'

/** How an upstream was released, as far as a subscriber sees it; see `SocketCleanupReport`. */
export interface ReleasedUpstream {
  readonly via: string
  readonly closed: boolean
  readonly forced: boolean
  readonly durationMs: number
  readonly errors: readonly Error[]
}

/** What {@link subscribeStreams} calls; each message carries the stream's `requestId`. */
export interface StreamSubscribers {
  /** A handler is about to run. */
  onStart?: ((message: { requestId: string; model: string | undefined }) => void) | undefined
  /** The headers of an event stream were sent. */
  onHead?: ((message: { requestId: string }) => void) | undefined
  /** A deadline passed. `timeoutMs` is the time that was allowed. */
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

/** A failure that a client has been told of. */
export interface ReportedFailure {
  readonly requestId: string
  readonly outcome: FailedOutcome
  readonly code: string
  /** Whether the headers had been sent: the report was then an error event, else a status and JSON. */
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
 * Calls back for what happens to every stream of this process, wherever it was started.
 *
 * @returns a function that ends the subscription
 * @throws TypeError for an unknown name, or what is no function
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
    if (callback === undefined) return []
    if (typeof callback !== 'function') {
      throw new TypeError(`subscribers.${name} must be a function, got ${shown(callback)}`)
    }
    const channel = byName[name as keyof typeof byName]
    const listener = (message: unknown) => callback(message as never)
    return [{ channel, listener }]
  })
  for (const { channel, listener } of subscribed) channel.subscribe(listener)
  return () => {
    for (const { channel, listener } of subscribed) channel.unsubscribe(listener)
  }
}
