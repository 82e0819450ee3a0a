import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { StreamEnd } from '../../diagnostics/channels.js'
import { subscribeStreams } from '../../diagnostics/subscribe-streams.js'

const seconds = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600]

type Labels = Readonly<Record<string, string>>

/** A metric in the text format of Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats/ */
abstract class Metric {
  readonly name: string
  readonly #head: string

  constructor(name: string, type: string, help: string) {
    this.name = name
    this.#head = `# HELP ${name} ${help}\n# TYPE ${name} ${type}`
  }

  protected abstract lines(): string[]

  get text(): string {
    return [this.#head, ...this.lines(), ''].join('\n')
  }
}

class Sum extends Metric {
  readonly #values = new Map<string, number>()

  /** @param isLabelled whether it has no value before something was counted */
  constructor(name: string, type: 'counter' | 'gauge', help: string, isLabelled = false) {
    super(name, type, help)
    if (!isLabelled) this.#values.set('', 0)
  }

  add(by: number, labels: Labels = {}): void {
    const key = written(labels)
    this.#values.set(key, (this.#values.get(key) ?? 0) + by)
  }

  protected lines(): string[] {
    return [...this.#values].map(([labels, value]) => `${this.name}${labels} ${value}`)
  }
}

class Histogram extends Metric {
  readonly #series = new Map<string, { labels: Labels; counts: number[]; sum: number; count: number }>()

  constructor(name: string, help: string) {
    super(name, 'histogram', help)
  }

  observe(value: number, labels: Labels = {}): void {
    const key = written(labels)
    const series = this.#series.get(key) ?? { labels, counts: seconds.map(() => 0), sum: 0, count: 0 }
    this.#series.set(key, series)
    series.count++
    series.sum += value
    for (const [at, limit] of seconds.entries())
      if (value <= limit) series.counts[at] = (series.counts[at] ?? 0) + 1
  }

  protected lines(): string[] {
    return [...this.#series].flatMap(([key, { labels, counts, sum, count }]) => [
      ...seconds.map(
        (limit, at) => `${this.name}_bucket${written({ ...labels, le: String(limit) })} ${counts[at]}`,
      ),
      `${this.name}_bucket${written({ ...labels, le: '+Inf' })} ${count}`,
      `${this.name}_sum${key} ${sum}`,
      `${this.name}_count${key} ${count}`,
    ])
  }
}

/** All values are unhang's own: nothing in them has to be escaped. */
function written(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${value}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

/** Counts every stream of the process, under the names of docs/MONITORING.md. */
class StreamMetrics {
  readonly #active = new Sum('unhang_streams_active', 'gauge', 'Streams under way')
  readonly #streams = new Sum('unhang_streams_total', 'counter', 'Streams that have ended, by outcome', true)
  readonly #events = new Sum('unhang_events_total', 'counter', 'Events written to clients')
  readonly #bytes = new Sum('unhang_bytes_total', 'counter', 'Bytes written to clients')
  readonly #heartbeats = new Sum('unhang_heartbeats_total', 'counter', 'Heartbeats written to clients')
  readonly #tokens = new Sum('unhang_tokens_total', 'counter', 'Tokens read and written by models', true)
  readonly #firstByte = new Histogram('unhang_stream_first_byte_seconds', 'From the start to the first byte')
  readonly #gap = new Histogram('unhang_stream_longest_gap_seconds', 'The longest silence of the upstream')
  readonly #duration = new Histogram('unhang_stream_duration_seconds', 'From the start to the end')

  started(): void {
    this.#active.add(1)
  }

  ended({ outcome, phase, usage, ...end }: StreamEnd): void {
    this.#active.add(-1)
    this.#streams.add(1, { outcome, phase: phase ?? '' })
    this.#events.add(end.events)
    this.#bytes.add(end.bytes)
    this.#heartbeats.add(end.heartbeats)
    const { inputTokens = 0, outputTokens = 0, source = 'counted' } = usage ?? {}
    this.#tokens.add(inputTokens, { direction: 'input', source })
    this.#tokens.add(outputTokens, { direction: 'output', source })
    if (end.ttfbMs !== undefined) this.#firstByte.observe(end.ttfbMs / 1_000)
    this.#gap.observe(end.maxGapMs / 1_000)
    this.#duration.observe(end.durationMs / 1_000, { outcome })
  }

  get text(): string {
    const totals = [this.#active, this.#streams, this.#events, this.#bytes, this.#heartbeats, this.#tokens]
    const times = [this.#firstByte, this.#gap, this.#duration]
    return [...totals, ...times].map(({ text }) => text).join('')
  }
}

/** Serves the metrics of this process on a port of this machine. */
export async function serveMetrics(port: number): Promise<Server> {
  const metrics = new StreamMetrics()
  const stop = subscribeStreams({ onStart: () => metrics.started(), onEnd: (end) => metrics.ended(end) })
  const server = createServer((request, response) => {
    if (request.url !== '/metrics') return void response.writeHead(404).end()
    response.setHeader('Content-Type', 'text/plain; version=0.0.4; charset=utf-8')
    response.end(metrics.text)
  })
  server.once('close', stop)
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return server
}
