import { jsonOf } from '../dialects/dialect.js'
import { type CheckResult, found, ok, unknown } from './diagnosis.js'
import type { Answer } from './endpoint.js'
import { framingFault } from './framing.js'

/** How much of a response must come at once to be called buffered. */
const minEvents = 20
const slowEnoughMs = 500
const burst = 0.1

/** The checks that look at one streamed response. */
export const streamChecks: readonly ((answer: Answer, silenceMs: number) => CheckResult)[] = [
  eventStream,
  headers,
  terminator,
  framing,
  done,
  buffering,
  heartbeats,
]

function eventStream({ client, quote }: Answer): CheckResult {
  const type = client.header('content-type')
  if (type !== undefined && /^text\/event-stream\b/i.test(type)) return ok('content-type', quote(type))
  return found(
    'content-type',
    {
      finding: 'Content-Type is not text/event-stream, so clients ignore the events.',
      fix: 'Send Content-Type: text/event-stream (unhang does).',
    },
    type === undefined ? 'no Content-Type' : quote(type),
  )
}

function headers({ client, quote }: Answer): CheckResult {
  const cacheControl = client.header('cache-control') ?? ''
  const isMarked = /\bno-transform\b/i.test(cacheControl)
  const isUnbuffered = client.header('x-accel-buffering')?.toLowerCase() === 'no'
  if (isMarked && isUnbuffered)
    return ok('headers', `Cache-Control: ${quote(cacheControl)}, X-Accel-Buffering: no`)
  const isHidden = /nginx|openresty/i.test(client.header('server') ?? '')
  if (isMarked && isHidden) {
    return unknown('headers', 'nginx keeps X-Accel-Buffering to itself: see buffering')
  }
  const missing = [
    isMarked ? [] : ['Cache-Control: no-cache, no-transform'],
    isUnbuffered || isHidden ? [] : ['X-Accel-Buffering: no'],
  ].flat()
  return found(
    'headers',
    {
      finding: 'No header tells compression, nginx or a CDN not to buffer the stream.',
      fix: `Send ${missing.join(' and ')} (unhang does).`,
    },
    `${missing.join(', ')}: not there`,
  )
}

function terminator({ client, isLate, durationMs }: Answer, silenceMs: number): CheckResult {
  const { body, ending } = client
  const seconds = Math.round(durationMs / 1_000)
  const silentMs = durationMs - (client.arrivalsMs.at(-1) ?? 0)
  if (isLate && silentMs < silenceMs) return unknown('terminator', `it is still coming after ${seconds} s`)
  const isFramed =
    /chunked/i.test(client.header('transfer-encoding') ?? '') || client.header('content-length')
  if (body.complete && isFramed) return ok('terminator', 'the body ended as HTTP ends one')
  const cause = {
    finding:
      'The response is cut: clients report "socket hang up", "Premature close" or "terminated", or wait for ever.',
    fix: 'End the response whatever happens to the upstream: guardStreams() of unhang ends it with an error event. Behind it, shorten timeouts.inactivityMs, and add an error listener to each response that you read by hand.',
  }
  if (isLate)
    return found(
      'terminator',
      cause,
      `it fell silent, and is open after ${seconds} s; nothing else was tried`,
    )
  if (!body.complete) {
    const how = ending === 'reset' ? 'was reset' : 'was closed in the middle of the body'
    return found('terminator', cause, `the connection ${how}`)
  }
  const unframed = {
    finding: 'Only the end of the connection ends the body: clients cannot tell an end from a cut.',
    fix: 'Leave Transfer-Encoding to Node: do not remove it, nor copy the headers of an upstream.',
  }
  return found('terminator', unframed, 'no chunks, and no length')
}

function framing({ client, quote }: Answer): CheckResult {
  const fault = framingFault(client.bodyText, quote)
  if (fault === undefined) return ok('framing', `${client.data.length} whole events`)
  return found(
    'framing',
    {
      finding: 'Events that clients cannot read: they drop them, or break.',
      fix: 'Write events with createSSEWriter(), or pass the bytes of the upstream on with relay().',
    },
    fault,
  )
}

function done({ client, quote }: Answer): CheckResult {
  const { data } = client
  const last = data.at(-1) ?? ''
  if (last === '[DONE]') return ok('done', 'the last event is [DONE]')
  if (!client.body.complete) return unknown('done', 'the answer was cut')
  if (jsonOf<{ error: unknown }>(last)?.error !== undefined)
    return unknown('done', `it ended with an error: ${quote(last)}`)
  return found(
    'done',
    {
      finding: 'The stream simply ends: clients cannot tell a complete answer from half of one.',
      fix: 'End a complete answer with data: [DONE] (unhang adds it, and reports an upstream that stopped short).',
    },
    last === '' ? 'no event came' : `the last event is ${quote(last)}`,
  )
}

function buffering({ client, durationMs, eventsAtMs }: Answer): CheckResult {
  const spreadMs = (eventsAtMs.at(-1) ?? 0) - (eventsAtMs[0] ?? 0)
  const events = client.data.length
  const evidence = `${events} events within ${Math.round(spreadMs)} ms, ${Math.round(durationMs)} ms after the question`
  if (durationMs < slowEnoughMs || events < minEvents)
    return unknown('buffering', `${evidence}: too fast to measure`)
  if (spreadMs > burst * durationMs) return ok('buffering', evidence)
  return found(
    'buffering',
    {
      finding: 'The whole response comes at once: something buffers it until it is complete.',
      fix: 'Look for compression(), nginx with proxy_buffering, or a CDN. In your handler, look for an await of the whole response.',
    },
    evidence,
  )
}

function heartbeats({ client, durationMs }: Answer, silenceMs: number): CheckResult {
  const maxMs = client.maxGapMs
  const evidence = `longest silence ${(maxMs / 1_000).toFixed(1)} s`
  if (maxMs > silenceMs) {
    return found(
      'heartbeats',
      {
        finding: 'Long silences: load balancers cut a connection that is silent for 30 or 60 s.',
        fix: 'Send a comment line every 15 s (unhang does: writer.heartbeatMs).',
      },
      evidence,
    )
  }
  return durationMs > silenceMs
    ? ok('heartbeats', evidence)
    : unknown('heartbeats', `${evidence}: never silent for long`)
}
