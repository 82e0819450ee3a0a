import { type GauntletOptions, type GauntletReport, runGauntlet } from '../../src/command/gauntlet/run.js'
import { freePort } from '../support/free-port.js'
import { toldDeadlines } from './hand-written-proxy.js'

interface Served extends AsyncDisposable {
  readonly url: string
}

/** Drives a proxy of this process, of which the upstream is the gauntlet's. */
export async function gauntletOf(
  serve: (upstream: string) => Promise<Served>,
  options: Partial<GauntletOptions> = {},
  base = '/v1',
): Promise<GauntletReport> {
  const upstreamPort = await freePort()
  await using server = await serve(`http://127.0.0.1:${upstreamPort}`)
  return await runGauntlet({
    url: `${server.url}${base}`,
    shape: 'openai',
    model: 'gpt-4o-mini',
    key: undefined,
    upstreamPort,
    deadlines: toldDeadlines,
    isQuick: false,
    only: [],
    skip: [],
    ...options,
  })
}

/** The trials that a proxy did not pass, and their findings. */
export function failedOf({ results }: GauntletReport): Record<string, string> {
  return Object.fromEntries(
    results.filter(({ passed }) => !passed).map(({ mode, name, verdict }) => [`${mode} ${name}`, verdict]),
  )
}
