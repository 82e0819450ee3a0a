import type { StreamEnd } from '../../../src/index.js'
import type { UpstreamExchange } from '../../../src/testing/index.js'
import { type Script, startUpstream } from '../scripted-upstream.js'
import type { ChatRequest, ContractClient, Mount, MountSettings } from './mount.js'

/** One mount, with an upstream behind it. */
export interface Scene extends AsyncDisposable {
  /** Asks for a stream, under a request id that is known. */
  ask(body?: ChatRequest): Promise<NamedClient>
  /** Asks for a stream, and gives no request id. */
  askUnnamed(body?: ChatRequest): Promise<ContractClient>
  /** The record of the first stream that has ended, or of the one with this id. */
  end(requestId?: string): Promise<StreamEnd>
  /** The exchange with this number, from 0, or with this path. */
  exchange(which: number | string): Promise<UpstreamExchange>
  drain: Awaited<ReturnType<Mount['serve']>>['drain']
}

export interface NamedClient extends ContractClient {
  requestId: string
}

let asked = 0

export async function startScene(
  mount: Mount,
  script: Script,
  settings: Omit<MountSettings, 'onEnd'> = {},
): Promise<Scene> {
  const ends: StreamEnd[] = []
  const waiting: (() => void)[] = []
  const upstream = await startUpstream(script)
  const server = await mount.serve(upstream.url, {
    ...settings,
    onEnd: (end) => {
      ends.push(end)
      for (const wake of waiting.splice(0)) wake()
      // The test looks at failures itself.
      return true
    },
  })
  return {
    async ask(body = {}) {
      const requestId = `contract-${++asked}`
      const client = await server.ask({ stream: true, ...body }, { 'x-request-id': requestId })
      return { ...client, requestId }
    },
    askUnnamed: (body = {}) => server.ask({ stream: true, ...body }),
    async end(requestId) {
      for (;;) {
        const end = ends.find((each) => requestId === undefined || each.requestId === requestId)
        if (end) return end
        await new Promise<void>((resolve) => waiting.push(resolve))
      }
    },
    async exchange(which) {
      if (typeof which === 'number') return await upstream.exchange(which)
      for (let at = 0; ; at++) {
        const exchange = await upstream.exchange(at)
        if (exchange.head.split(' ')[1] === `/${which}`) return exchange
      }
    },
    drain: () => server.drain(),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
      await upstream[Symbol.asyncDispose]()
    },
  }
}
