import type { Server } from 'node:http'
import { startProxy } from '../../src/command/proxy/server.js'
import { type ProxySettings, readUpstream } from '../../src/command/proxy/settings.js'

/** `unhang proxy` in this process, on a free port. */
export interface Proxied extends AsyncDisposable {
  readonly url: string
  readonly port: number
  readonly server: Server
  /** The lines of `--verbose`. */
  readonly lines: string[]
  /** Waits for the line with this number, from 0. */
  line(index: number): Promise<string>
}

export async function startProxied(upstream: string, more: Partial<ProxySettings> = {}): Promise<Proxied> {
  const lines: string[] = []
  const waiting: (() => void)[] = []
  const settings = {
    upstream: readUpstream(upstream),
    host: '127.0.0.1',
    port: 0,
    headers: [],
    key: undefined,
    cors: [],
    timeouts: undefined,
    heartbeatMs: undefined,
    headersAfterMs: undefined,
    ...more,
  }
  const { server, url, close } = await startProxy(settings, (line) => {
    lines.push(line)
    for (const wake of waiting.splice(0)) wake()
  })
  const closed = new Promise((resolve) => server.once('close', resolve))
  return {
    url,
    server,
    port: Number(new URL(url).port),
    lines,
    async line(index) {
      while (lines.length <= index) await new Promise<void>((resolve) => waiting.push(resolve))
      return lines[index] as string
    },
    async [Symbol.asyncDispose]() {
      close()
      await closed
    },
  }
}
