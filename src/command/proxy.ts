import type { Server } from 'node:http'
import { drainOnSignals } from '../server/drain-on-signals.js'
import type { Command } from './command.js'
import { durationMs, port, text, toggle } from './flags.js'
import { serveMetrics } from './proxy/metrics.js'
import { startProxy, urlOf } from './proxy/server.js'
import { checkSettings, headerList, originList, readUpstream, timeoutsFlag } from './proxy/settings.js'

const defaultHost = '127.0.0.1'
const signals = ['SIGINT', 'SIGTERM'] as const

const flags = {
  port: port('where clients connect', 3000),
  host: text('HOST', `the address to listen on, say 0.0.0.0 for all; default: ${defaultHost}`),
  header: headerList('sent to the upstream, such as "Authorization: Bearer sk-…"'),
  key: text('KEY', 'what clients must send as "Authorization: Bearer KEY"'),
  cors: originList('lets pages of this origin use the proxy; * lets all of them'),
  timeouts: timeoutsFlag('a profile, or JSON such as {"totalMs":false}; default: advanced'),
  heartbeatMs: durationMs('the silence before a heartbeat, or false; default: 15000', undefined, true),
  headersAfterMs: durationMs(
    'how long headers wait for the first event, or false; default: 10000',
    undefined,
    true,
  ),
  verbose: toggle('prints a line for each stream'),
  metrics: port('serves Prometheus metrics on this port of 127.0.0.1', undefined),
}

/** `unhang proxy`: a reverse proxy whose streams do not hang up. */
export const proxy: Command<typeof flags> = {
  name: 'proxy',
  summary:
    'Stands in front of one HTTP server, and gives each of its streams an ending that clients understand.',
  argument: { name: 'URL', help: 'the upstream, say http://127.0.0.1:8080' },
  flags,
  more: '--header and --cors may be given several times. Ctrl-C lets open streams finish for ten seconds.',
  async run({ host = defaultHost, header, metrics, verbose, ...values }, url) {
    const settings = { ...values, upstream: readUpstream(url), host, headers: header }
    checkSettings(settings)
    const report = (line: string) => {
      if (verbose) console.log(line)
    }
    const running = await listening({ flag: `port ${values.port}`, host }, () => startProxy(settings, report))
    console.log(`unhang proxy ${running.url} -> ${settings.upstream.href}`)
    let measured: Server | undefined
    if (metrics !== undefined) {
      measured = await listening({ flag: `metrics ${metrics}`, host: '127.0.0.1' }, () =>
        serveMetrics(metrics),
      ).catch((error) => {
        running.close()
        throw error
      })
      console.log(`metrics ${urlOf(measured, '127.0.0.1')}/metrics`)
    }
    for (const signal of signals) process.once(signal, () => running.endTunnels())
    await new Promise((resolve) => drainOnSignals(running.server, { signals, onDrained: resolve }))
    running.close()
    measured?.close().closeAllConnections()
    return 0
  },
}

/** @throws TypeError of one line, that names the flag */
async function listening<T>(
  { flag, host }: { flag: string; host: string },
  listen: () => Promise<T>,
): Promise<T> {
  try {
    return await listen()
  } catch (error) {
    const { code = '', syscall, message } = error as NodeJS.ErrnoException
    if (syscall === 'getaddrinfo' || /^(EADDRNOTAVAIL|EAFNOSUPPORT|EINVAL)$/.test(code)) {
      throw new TypeError(
        `--host ${host} is not an address of this machine: write 127.0.0.1, or 0.0.0.0 for all of them (${message})`,
      )
    }
    const why = code === 'EADDRINUSE' ? 'is in use: choose another one' : `cannot be listened on: ${message}`
    throw new TypeError(`--${flag} ${why}`)
  }
}
