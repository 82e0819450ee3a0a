import { SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { traceStreams } from '../../examples/monitoring/opentelemetry.js'
import { StreamError } from '../../src/index.js'
import { exampleFiles, startExample } from '../support/example-server.js'
import { startProxy } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'

describe.each(exampleFiles)('/metrics of %s', (file) => {
  test('counts the streams that have ended, and those that are under way', async () => {
    await using example = await startExample(file)
    const metrics = async () => (await fetch(`${example.url}/metrics`)).text()
    const body = { model: 'gpt-4o', stream: true, messages: [{ role: 'user', content: 'Hello' }] }
    const request = { port: example.port, body, headers: { Authorization: 'Bearer key' } }
    expect(await metrics()).toMatch(/^unhang_streams_active 0$/m)
    using first = await rawRequest(request).received('data:')
    expect(await metrics()).toMatch(/^unhang_streams_active 1$/m)
    await first.finished()
    using second = await rawRequest(request).received('data:')
    second.reset()
    let text = ''
    while (!/client_gone/.test(text)) text = await metrics()
    expect(text).toMatch(/^unhang_streams_total\{outcome="completed",phase=""\} 1$/m)
    expect(text).toMatch(/^unhang_streams_total\{outcome="client_gone",phase=""\} 1$/m)
    expect(text).toMatch(/^unhang_streams_active 0$/m)
    expect(text).toMatch(/^unhang_stream_duration_seconds_count\{outcome="completed"\} 1$/m)
    expect(text).toMatch(/^unhang_stream_first_byte_seconds_count 2$/m)
    expect(text).not.toContain('gpt-4o')
    const [, events] = /^unhang_events_total (\d+)$/m.exec(text) ?? []
    expect(Number(events)).toBeGreaterThanOrEqual(first.data.length)
  })
})

describe('a span of each stream', () => {
  const exporter = new InMemorySpanExporter()
  beforeAll(() => {
    trace.setGlobalTracerProvider(
      new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
    )
    traceStreams('qolaba')
  })
  afterEach(() => exporter.reset())

  async function spanOf(handler: Parameters<typeof startProxy>[0], leave = false) {
    await using proxy = await startProxy(handler, { model: 'gpt-4o' })
    using client = rawRequest({
      port: proxy.port,
      headers: { 'x-request-id': 'one' },
      body: { stream: true },
    })
    if (leave) (await client.received('data:')).reset()
    const { durationMs } = await proxy.end()
    const [span, ...more] = exporter.getFinishedSpans()
    expect(more).toEqual([])
    return { span, durationMs }
  }

  test('that was completed', async () => {
    const { span, durationMs } = await spanOf(({ writer }) => writer.write({ data: '[DONE]' }))
    expect(span?.name).toBe('chat gpt-4o')
    expect(span?.kind).toBe(SpanKind.CLIENT)
    expect(span?.status.code).toBe(SpanStatusCode.UNSET)
    expect(span?.attributes).toMatchObject({
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'qolaba',
      'gen_ai.request.model': 'gpt-4o',
      'http.response.status_code': 200,
      'unhang.outcome': 'completed',
      'unhang.request_id': 'one',
      'unhang.events': 1,
    })
    expect(span?.attributes).not.toHaveProperty('error.type')
    const [seconds = 0, nanoseconds = 0] = span?.duration ?? []
    expect(seconds * 1_000 + nanoseconds / 1_000_000).toBeCloseTo(durationMs, 0)
  })

  test('that failed: an error with its code, and without its cause', async () => {
    const { span } = await spanOf(() => {
      throw new StreamError('upstream_hangup', { cause: new Error('secret') })
    })
    expect(span?.status.code).toBe(SpanStatusCode.ERROR)
    expect(span?.attributes).toMatchObject({
      'error.type': 'connection_reset',
      'http.response.status_code': 503,
    })
    expect(JSON.stringify([span?.attributes, span?.status, span?.events])).not.toContain('secret')
  })

  test('whose client left: no error of ours', async () => {
    const { span } = await spanOf(async ({ writer, signal }) => {
      await writer.write({ data: 'x' })
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
    }, true)
    expect(span?.attributes['unhang.outcome']).toBe('client_gone')
    expect(span?.status.code).toBe(SpanStatusCode.UNSET)
  })
})
