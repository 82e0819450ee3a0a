import { subscribe } from 'node:diagnostics_channel'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { StreamEnd } from 'unhang'

const registers = [new Registry()]
const seconds = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600]

/**
 * How many by request id, which may be the client's and not the only one of its kind. A guarded request may fail
 * before its stream begins, and is then only counted.
 */
const running = new Map<string, number>()

new Gauge({
  name: 'unhang_streams_active',
  help: 'Streams under way',
  registers,
  collect() {
    this.set([...running.values()].reduce((sum, streams) => sum + streams, 0))
  },
})
const streams = new Counter({
  name: 'unhang_streams_total',
  help: 'Streams that have ended, by outcome and, for deadlines, by phase',
  // Not by model: that is whatever a client writes there.
  labelNames: ['outcome', 'phase'],
  registers,
})
const events = new Counter({ name: 'unhang_events_total', help: 'Events written to clients', registers })
const bytes = new Counter({ name: 'unhang_bytes_total', help: 'Bytes written to clients', registers })
const heartbeats = new Counter({
  name: 'unhang_heartbeats_total',
  help: 'Heartbeats written to clients',
  registers,
})
const tokens = new Counter({
  name: 'unhang_tokens_total',
  help: 'Tokens read and written by models; of the source `counted` the events that held a piece of an answer',
  labelNames: ['direction', 'source'],
  registers,
})
const firstByte = new Histogram({
  name: 'unhang_stream_first_byte_seconds',
  help: 'From the start of a stream to the first byte of its upstream',
  buckets: seconds,
  registers,
})
const maxGap = new Histogram({
  name: 'unhang_stream_longest_gap_seconds',
  help: 'The longest silence of the upstream in a stream',
  buckets: seconds,
  registers,
})
const duration = new Histogram({
  name: 'unhang_stream_duration_seconds',
  help: 'From the start of a stream to its end',
  labelNames: ['outcome'],
  buckets: seconds,
  registers,
})

/** The text for Prometheus at `/metrics`, in its own format. */
export const metrics = {
  contentType: registers[0]?.contentType ?? '',
  text: () => registers[0]?.metrics() ?? '',
}

/** Counts every stream of the process, whichever code writes it. */
export function countStreams(): void {
  subscribe('unhang:stream:start', (message) => change((message as { requestId: string }).requestId, 1))
  subscribe('unhang:stream:end', (message) => count(message as StreamEnd))
}

function count(end: StreamEnd): void {
  const { outcome, phase = '', requestId } = end
  change(requestId, -1)
  streams.inc({ outcome, phase })
  events.inc(end.events)
  bytes.inc(end.bytes)
  heartbeats.inc(end.heartbeats)
  const { inputTokens = 0, outputTokens = 0, source = 'counted' } = end.usage ?? {}
  tokens.inc({ direction: 'input', source }, inputTokens)
  tokens.inc({ direction: 'output', source }, outputTokens)
  if (end.ttfbMs !== undefined) firstByte.observe(end.ttfbMs / 1_000)
  maxGap.observe(end.maxGapMs / 1_000)
  duration.observe({ outcome }, end.durationMs / 1_000)
}

function change(requestId: string, by: number): void {
  const streams = (running.get(requestId) ?? 0) + by
  if (streams > 0) running.set(requestId, streams)
  else running.delete(requestId)
}
