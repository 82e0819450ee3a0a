import { chatAnswer, chatChunk } from './chat.js'
import type { OpenUpstream, TestProxy } from './proxy.js'
import { startProxy } from './proxy.js'
import { RawClient } from './raw-client.js'
import { type Script, type ScriptedUpstream, startUpstream } from './scripted-upstream.js'

/** The faults of an upstream in a stream, and the possible endings of that stream. */
const faults: Record<string, { script: Script; outcomes: string[] }> = {
  good: {
    script: (exchange) =>
      exchange
        .open()
        .data(...chatAnswer('Hel', 'lo'))
        .end(),
    outcomes: ['completed'],
  },
  refusing: { script: (exchange) => exchange.answer('503 No', '{}'), outcomes: ['upstream_error'] },
  truncating: {
    script: (exchange) => exchange.open().data(chatChunk('Hi')).end(),
    outcomes: ['upstream_truncated'],
  },
  leaving: {
    script: (exchange) => exchange.open().data(chatChunk('Hi')).fin(),
    outcomes: ['upstream_hangup'],
  },
  resetting: {
    script: (exchange) => exchange.open().data(chatChunk('Hi')).reset(),
    outcomes: ['upstream_hangup'],
  },
  silent: { script: (exchange) => exchange.open().data(chatChunk('Hi')), outcomes: ['client_gone'] },
  dumb: { script: () => {}, outcomes: ['client_gone'] },
}

export interface MixedStreams extends AsyncDisposable {
  readonly upstream: ScriptedUpstream
  readonly proxy: TestProxy
  /** Runs one stream of the next kind to its end. Clients of silent upstreams leave. */
  run(index: number): Promise<void>
  /** The number of a good stream, not before this one; every seventh after it is another. */
  goodAfter(index: number): number
  /** How the streams should have ended, by the kind they were. */
  expected(index: number): string[]
}

const kinds = Object.values(faults)

export async function startMixedStreams(open: OpenUpstream, options = {}): Promise<MixedStreams> {
  const upstream = await startUpstream((exchange) => {
    const index = Number(exchange.head.match(/stream-(\d+)/)?.[1])
    kinds[index % kinds.length]?.script(exchange)
  })
  const proxy = await startProxy(async (stream, request) => {
    await stream.relay(await open(`${upstream.url}${request.url}`, stream))
  }, options)
  return {
    upstream,
    proxy,
    goodAfter: (index) => Math.ceil(index / kinds.length) * kinds.length,
    expected: (index) => kinds[index % kinds.length]?.outcomes ?? [],
    async run(index) {
      using client = new RawClient(proxy.port).send({ path: `/stream-${index}/chat/completions`, body: {} })
      const kind = kinds[index % kinds.length]
      if (kind === faults.silent) await client.received('Hi')
      else if (kind === faults.dumb) {
        const arrived = () => upstream.exchanges.some(({ head }) => head.includes(`stream-${index}/`))
        while (!arrived()) await new Promise(setImmediate)
      } else await client.finished()
      if (kind === faults.silent || kind === faults.dumb) client.reset()
    },
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]()
      await upstream[Symbol.asyncDispose]()
    },
  }
}
