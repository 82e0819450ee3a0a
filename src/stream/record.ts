import { channels, log, type StreamEnd, warnOnce } from '../diagnostics/channels.js'
import type { StreamFailure } from '../errors/stream-error.js'
import type { TimeoutCoordinator } from '../timeouts/timeout-coordinator.js'

/** What a record is made from. */
export interface EndedStream {
  timeouts: TimeoutCoordinator
  /** Of the response, if one was sent. */
  status: number | undefined
  requestId: string
  model: string | undefined
  sawTerminal: boolean
  retries: number
  written: { readonly events: number; readonly bytes: number; readonly heartbeats: number }
  /** Whether the client has a complete answer, whatever happened after it. */
  completed: boolean
}

/** Writes the record of a stream that has ended, and tells everybody who wants to know. */
export function recordEnd(stream: EndedStream, onEnd: ((end: StreamEnd) => void) | undefined): StreamEnd {
  const { timeouts, status, requestId, model, sawTerminal, retries, written, completed } = stream
  const reason = completed ? undefined : (timeouts.reason as StreamFailure | undefined)
  const late = timeouts.suppressed.map((error) => error.outcome)
  const end: StreamEnd = {
    outcome: reason?.outcome ?? 'completed',
    reason,
    phase: reason?.phase,
    requestId,
    model,
    status,
    ttfbMs: timeouts.ttfbMs,
    durationMs: timeouts.elapsedMs,
    longestGapMs: timeouts.longestGapMs,
    events: written.events,
    bytes: written.bytes,
    heartbeats: written.heartbeats,
    sawTerminal,
    retries,
    suppressed: completed && timeouts.reason ? [timeouts.reason.outcome, ...late] : late,
  }
  announce(end, onEnd)
  return end
}

function announce(end: StreamEnd, onEnd: ((end: StreamEnd) => void) | undefined): void {
  const { requestId, outcome, reason, events, bytes, durationMs } = end
  log.stream('%s: %s, %d events, %d bytes, %d ms', requestId, outcome, events, bytes, Math.round(durationMs))
  if (outcome === 'internal' && !onEnd && !channels.end.hasSubscribers) {
    // A bug in a handler that nobody is told of would never be found: the client sees "internal error" only.
    console.error('unhang: %s: the handler failed:', requestId, reason?.cause ?? reason)
  }
  channels.end.publish(end)
  // It may be asynchronous, and it may fail: neither is the client's concern, nor a reason to end the process.
  void (async () => onEnd?.(end))().catch((error) => warnOnce(`onEnd failed: ${error}`))
}
