import { beforeAll, describe, expect, test } from 'vitest'
import { type GauntletOptions, type GauntletReport, runGauntlet } from '../../src/command/gauntlet/run.js'
import { freePort } from '../support/free-port.js'
import { listen } from '../support/proxy.js'
import { Call, proxyOf, toldDeadlines } from './hand-written-proxy.js'
import { mutants } from './mutants/index.js'

type Proxy = (url: string) => Parameters<typeof listen>[0]

async function gauntlet(proxy: Proxy, options: Partial<GauntletOptions> = {}): Promise<GauntletReport> {
  const upstreamPort = await freePort()
  await using server = await listen(proxy(`http://127.0.0.1:${upstreamPort}`))
  return await runGauntlet({
    url: `${server.url}/v1`,
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

const failedOf = ({ results }: GauntletReport) =>
  Object.fromEntries(
    results.filter(({ passed }) => !passed).map(({ mode, name, verdict }) => [`${mode} ${name}`, verdict]),
  )

describe.concurrent('a good proxy passes whole', () => {
  test('written by hand', async () => {
    const report = await gauntlet(proxyOf(Call))
    expect(failedOf(report)).toEqual({})
    expect(report.results).toHaveLength(35)
    expect(report.leftOut).toEqual([])
  })
})

describe('a proxy with one defect', () => {
  /** They wait for deadlines, and do little: so many side by side. */
  const sideBySide = 12
  const reports = new Map<string, GauntletReport>()

  beforeAll(async () => {
    const queue = Object.entries(mutants)
    const work = async () => {
      for (let next = queue.shift(); next; next = queue.shift()) {
        const [defect, { proxy, deadlines }] = next
        reports.set(defect, await gauntlet(proxy, { deadlines: { ...toldDeadlines, ...deadlines } }))
      }
    }
    await Promise.all(Array.from({ length: sideBySide }, work))
  }, 180_000)

  test.each(Object.entries(mutants))('%s', (defect, { mode, says }) => {
    expect(Object.keys(says).some((trial) => trial.startsWith(mode))).toBe(true)
    expect(failedOf(reports.get(defect) as GauntletReport)).toEqual(says)
  })

  test('there are more than fifteen, of most failure modes', () => {
    expect(Object.keys(mutants).length).toBeGreaterThan(30)
    expect(new Set(Object.values(mutants).map(({ mode }) => mode)).size).toBeGreaterThan(20)
  })
})
