import { channels, log, type StreamEnd, type StreamUsage, warnOnce } from '../diagnostics/channels.js'
import { describeError, describeTrace } from '../diagnostics/describe-error.js'
import type { Transcript } from '../dialects/transcript.js'
import { StreamError, type StreamFailure } from '../errors/stream-error.js'
import type { TimeoutCoordinator } from '../timeouts/timeout-coordinator.js'
import type { EventOutput } from './event-output.js'
import { logFailure } from './exchange-log.js'

/** The parts that a record is made from. */
export interface EndedStream {
  timeouts: TimeoutCoordinator
  subject: { readonly requestId: string; readonly model: string | undefined }
  output: Pick<EventOutput, 'status' | 'events' | 'bytes' | 'heartbeats' | 'isForeign' | 'recording'>
  /** The recorded stream whose events these are. */
  follows: string | undefined
  /** A dialect of the app's own may fail at it. */
  transcript: () => Pick<Transcript, 'complete' | 'cutShort' | 'tally'>
  retries: number
  upstreamsLeftRunning: number
  /** Whether the client has a complete answer, whatever happened after it. */
  completed: boolean
}

/** Makes the record of a stream that has ended, and publishes it: to the log, the channel and `onEnd`. */
export function recordEnd(stream: EndedStream, onEnd: OnEnd | undefined): StreamEnd {
  const { timeouts, subject, output, follows, retries, completed, upstreamsLeftRunning } = stream
  const { recording } = output
  const { sawTerminal, cutShort, usage } = lastWord(stream)
  const reason = (completed ? cutShort : timeouts.reason) as StreamFailure | undefined
  if (cutShort && reason === cutShort) {
    cutShort.headersSent = true
    logFailure(subject.requestId, cutShort)
  }
  const late = timeouts.suppressed.map((error) => error.outcome)
  const end: StreamEnd = {
    outcome: reason?.outcome ?? 'completed',
    reason,
    phase: reason?.phase,
    requestId: subject.requestId,
    model: subject.model,
    status: output.status,
    ttfbMs: timeouts.ttfbMs,
    durationMs: timeouts.elapsedMs,
    maxGapMs: timeouts.maxGapMs,
    events: output.events,
    bytes: output.bytes,
    heartbeats: output.heartbeats,
    sawTerminal,
    retries,
    upstreamsLeftRunning: completed ? 0 : upstreamsLeftRunning,
    // An error with a status is not an event stream either, but all is known of it. Replayed events have been counted already.
    usage: follows || (output.isForeign && Number(output.status) < 400) ? undefined : usage,
    streamId: follows ?? recording?.streamId,
    recorded: recording?.recorded ?? false,
    detached: recording?.detached ?? false,
    suppressed: completed && timeouts.reason ? [timeouts.reason.outcome, ...late] : late,
  }
  void announce(end, onEnd)
  return end
}

interface LastWord {
  sawTerminal: boolean
  usage?: StreamUsage
  cutShort?: StreamError
}

/** The stream's own report of its end. The client has read it, if the answer was cut short. */
function lastWord({ transcript }: EndedStream): LastWord {
  try {
    const { complete: sawTerminal, cutShort, tally } = transcript()
    const { usage } = tally
    return { sawTerminal, usage, ...(cutShort && { cutShort: new StreamError('upstream_truncated') }) }
  } catch {
    return { sawTerminal: false }
  }
}

/** `onEnd` may be asynchronous, and it may fail: neither is the client's concern, nor a reason to end the process. */
async function announce(end: StreamEnd, onEnd: OnEnd | undefined): Promise<void> {
  const { requestId, outcome, reason, events, bytes, durationMs } = end
  log.stream('%s: %s, %d events, %d bytes, %d ms', requestId, outcome, events, bytes, Math.round(durationMs))
  channels.end.publish(end)
  let isReported: unknown
  try {
    isReported = await onEnd?.(end)
  } catch (error) {
    warnOnce(`onEnd failed: ${describeError(error)}`)
  }
  // A bug in a handler that goes unreported would never be found: the client sees "internal error" only.
  if (outcome !== 'internal' || isReported === true) return
  console.error('unhang: %s: the handler failed: %s', requestId, describeTrace(reason?.cause ?? reason))
}

type OnEnd = (end: StreamEnd) => unknown
