import { subscribe } from 'node:diagnostics_channel'
import { type Attributes, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import type { StreamEnd } from 'unhang'

/** It is not the service's fault when a client leaves. */
const blameless: readonly StreamEnd['outcome'][] = ['completed', 'client_gone', 'client_stalled']

/**
 * Makes a span of every stream of the process, below the one of its request if there is one. Nothing happens until
 * the process has an SDK of OpenTelemetry: `node --import ./instrumentation.mjs …`.
 *
 * @param provider whose models these are
 * @see https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
 * @see https://opentelemetry.io/docs/specs/semconv/http/http-spans/
 */
export function traceStreams(provider: string): void {
  subscribe('unhang:stream:end', (message) => traceStream(provider, message as StreamEnd))
}

function traceStream(provider: string, end: StreamEnd): void {
  const { model, outcome, durationMs, reason } = end
  const endTime = Date.now()
  const span = trace.getTracer('unhang').startSpan(model === undefined ? 'chat' : `chat ${model}`, {
    kind: SpanKind.CLIENT,
    startTime: endTime - durationMs,
    attributes: attributesOf(provider, end),
  })
  // Ours says nothing of what was said; its cause might.
  if (!blameless.includes(outcome))
    span.setStatus({ code: SpanStatusCode.ERROR, message: reason?.message ?? outcome })
  span.end(endTime)
}

/** Counted events are not tokens: the conventions have no name for them. */
function usageOf({ usage }: StreamEnd): Attributes {
  if (!usage) return {}
  const { inputTokens, outputTokens, source } = usage
  const output = source === 'reported' ? 'gen_ai.usage.output_tokens' : 'unhang.content_events'
  return {
    ...(inputTokens === undefined ? {} : { 'gen_ai.usage.input_tokens': inputTokens }),
    ...(outputTokens === undefined ? {} : { [output]: outputTokens }),
  }
}

function attributesOf(provider: string, end: StreamEnd): Attributes {
  const { model, status, outcome, phase, reason, requestId } = end
  return {
    'gen_ai.operation.name': 'chat',
    'gen_ai.provider.name': provider,
    ...(model === undefined ? {} : { 'gen_ai.request.model': model }),
    ...(status === undefined ? {} : { 'http.response.status_code': status }),
    ...(blameless.includes(outcome) ? {} : { 'error.type': reason?.code ?? outcome }),
    ...usageOf(end),
    'unhang.request_id': requestId,
    'unhang.outcome': outcome,
    ...(phase === undefined ? {} : { 'unhang.phase': phase }),
    ...(end.ttfbMs === undefined ? {} : { 'unhang.ttfb_ms': end.ttfbMs }),
    'unhang.longest_gap_ms': end.maxGapMs,
    'unhang.events': end.events,
    'unhang.bytes': end.bytes,
    'unhang.heartbeats': end.heartbeats,
  }
}
