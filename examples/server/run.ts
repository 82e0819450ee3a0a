import { createServer, type RequestListener, type Server } from 'node:http'
import { alignServerTimeouts, drainOnSignals } from 'unhang'
import type { Resume } from 'unhang/resume'
import { traceStreams } from '../monitoring/opentelemetry.js'
import { countStreams } from '../monitoring/prometheus.js'
import { Playground } from '../playground/playground.js'
import { startFakeUpstream } from '../qolaba/fake-upstream.js'
import { Access } from './access.js'
import { readEnvironment, type Settings, withoutSecrets } from './environment.js'
import { openResume, openStores } from './resume.js'

/** The parts that an app is built from. */
export interface AppSettings extends Omit<Settings, 'baseUrl' | 'resume'> {
  baseUrl: string
  resume: Resume | undefined
  access: Access
}

/** Reads the environment, starts the app, and shuts it down on SIGTERM; a bad setting is one line and exit 1. */
export async function run(createApp: (settings: AppSettings) => RequestListener): Promise<void> {
  try {
    const settings = readEnvironment(process.env)
    const { host, port, shutdownGraceMs } = settings
    const upstream = settings.baseUrl ? undefined : await startFakeUpstream()
    const openStore = openStores(settings.resume ?? 'memory')
    countStreams()
    traceStreams('qolaba')
    const app = createApp({
      ...settings,
      baseUrl: settings.baseUrl ?? upstream?.baseUrl ?? '',
      // The stand-in takes any key, so that no key is needed to see it work.
      apiKey: settings.apiKey ?? (upstream && 'stand-in'),
      access: new Access(settings),
      resume: settings.resume && openResume(openStore()),
    })
    // Only where there is nothing but the stand-in: a page of faults has no use in front of a real model.
    const playground =
      upstream && (await Playground.start(openStore(Playground.storeOptions), settings.playgroundProcess))
    const server = createServer({ keepAliveTimeout: 65_000 }, (request, response) => {
      if (!playground?.serves(request, response)) app(request, response)
    })
    server.once('error', fail)
    for (const { message } of alignServerTimeouts(server)) console.warn(message)
    server.listen(port, host, () => announce(server, settings))
    drainOnSignals(server, { graceMs: shutdownGraceMs, forceMs: 1_000 })
  } catch (error) {
    fail(error)
  }
}

function announce(server: Server, { host, baseUrl = '', apiKey, proxyKey }: Settings): void {
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : address
  console.log(
    `Listening on http://${host}:${port}, upstream: ${withoutSecrets(baseUrl) || 'a stand-in for Qolaba'}`,
  )
  if (!baseUrl) console.log('Open it in a browser to watch streams survive.')
  if (apiKey && !proxyKey)
    console.log('Only clients on this machine are served; set PROXY_KEY to serve others.')
}

function fail(error: unknown): never {
  console.error(error instanceof Error ? error.message : String(error))
  process.exit(1)
}
