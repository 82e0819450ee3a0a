import { once } from 'node:events'
import { createServer } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { beforeAll, describe, expect, test } from 'vitest'
import { type GauntletOptions, type GauntletReport, runGauntlet } from '../../src/command/gauntlet/run.js'
import { handleStream } from '../../src/index.js'
import { type AnswerShape, answers } from '../../src/testing/index.js'
import { freePort } from '../support/free-port.js'
import { listen, listenOn } from '../support/proxy.js'
import { Call, proxyOf, toldDeadlines } from './hand-written-proxy.js'
import { mutants } from './mutants/index.js'
import { failedOf, gauntletOf } from './run-gauntlet.js'

/** `npm run test:gauntlet` makes all trials; the gate leaves out those that wait, or move megabytes. */
const isWhole = process.env.GAUNTLET === 'whole'

type Proxy = (url: string) => Parameters<typeof listen>[0]

const gauntlet = (proxy: Proxy, options?: Partial<GauntletOptions>, base?: string) =>
  gauntletOf((url) => listen(proxy(url)), options, base)

describe('a good proxy passes whole', () => {
  test('written by hand', async () => {
    const report = await gauntlet(proxyOf(Call), { isQuick: !isWhole })
    expect(failedOf(report)).toEqual({})
    const { results, leftOut } = report
    expect(results.length + leftOut.length).toBe(35)
    expect(leftOut.filter(({ why }) => isWhole || why !== 'takes a deadline')).toEqual([])
  }, 60_000)

  /** A proxy of unhang: one line for streams, one for the rest. */
  const ofUnhang: Proxy = (url) => async (request, response) => {
    const body = await buffer(request).catch(() => undefined)
    if (!body) return
    const call = (signal?: AbortSignal) =>
      fetch(url + request.url, {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/json' },
        ...(signal ? { signal } : {}),
      })
    if (!body.includes('"stream":false') && !request.url?.includes(':generate')) {
      return void handleStream(
        response,
        ({ relay, openUpstream }) => relay(openUpstream(({ signal }) => call(signal))),
        {
          timeouts: { firstByteMs: 1_500, inactivityMs: 2_200, totalMs: 9_000 },
        },
      )
    }
    const answer = await call()
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text())
  }

  test.each(Object.keys(answers) as AnswerShape[])('of unhang, in the API %s', async (shape) => {
    const base = { gemini: '/v1beta', ollama: '/api' }[shape as string] ?? '/v1'
    const report = await gauntlet(ofUnhang, { shape, isQuick: true }, base)
    expect(failedOf(report)).toEqual({})
    expect(report.results.length).toBeGreaterThan(20)
  })
})

describe('a proxy with one defect', () => {
  /** They wait for deadlines, and do little: so many side by side. */
  const sideBySide = isWhole ? 6 : 12
  /** Trials that move megabytes: this process cannot do so for six proxies at once, and keep their deadlines. */
  const megabytes = ['FM-25', 'FM-27', 'FM-28']
  const reports = new Map<string, GauntletReport>()
  /** The others take minutes. */
  const chosen = Object.entries(mutants).filter(([, { mode }]) => isWhole || !megabytes.includes(mode))

  beforeAll(async () => {
    const queue = [...chosen]
    const work = async () => {
      for (let next = queue.shift(); next; next = queue.shift()) {
        const [defect, { proxy, deadlines, mode, says }] = next
        // Of a proxy whose machine is busy, only the trials that it must fail say the same each time.
        const only = isWhole ? [] : Object.keys(says).map((trial) => trial.split(' ')[0] ?? trial)
        const skip = megabytes.includes(mode) ? [] : megabytes
        const told = { ...toldDeadlines, ...deadlines }
        reports.set(defect, await gauntlet(proxy, { deadlines: told, only, skip }))
      }
    }
    await Promise.all(Array.from({ length: sideBySide }, work))
  }, 300_000)

  test.each(chosen)('%s', (defect, { mode, says }) => {
    expect(Object.keys(says).some((trial) => trial.startsWith(mode))).toBe(true)
    expect(failedOf(reports.get(defect) as GauntletReport)).toEqual(says)
  })

  test('there are more than fifteen, of most failure modes', () => {
    expect(Object.keys(mutants).length).toBeGreaterThan(30)
    expect(new Set(Object.values(mutants).map(({ mode }) => mode)).size).toBeGreaterThan(20)
  })
})

describe('a run', () => {
  test('sends no more than it says, and only what is wanted', async () => {
    let asked = 0
    const counted: Proxy = (url) => {
      const listener = proxyOf(Call)(url)
      return (request, response) => {
        asked++
        listener(request, response)
      }
    }
    const said: string[] = []
    const report = await gauntlet(counted, {
      only: ['FM-15', 'FM-26'],
      skip: [],
      announce: (text) => said.push(text),
    })
    expect(report.results.map(({ mode }) => mode)).toEqual(['FM-49', 'FM-15', 'FM-15', 'FM-15', 'FM-26'])
    expect(said[0]).toMatch(/^Sends at most 5 requests to http:/)
    expect(asked).toBe(5)
    expect(report.requests).toBe(5)
    expect((await gauntlet(proxyOf(Call), { only: ['FM-15'], skip: ['FM-15'] })).results).toHaveLength(1)
  })

  test('leaves out what waits for a deadline that the proxy does not have', async () => {
    const deadlines = { ...toldDeadlines, totalMs: Number.POSITIVE_INFINITY }
    const { leftOut, results } = await gauntlet(proxyOf(Call), { only: ['FM-08'], deadlines })
    expect(leftOut).toEqual([{ mode: 'FM-08', name: 'drip', why: 'the proxy has no such deadline' }])
    expect(results).toHaveLength(1)
  })

  test('says so of a proxy that has another upstream', async () => {
    const elsewhere: Proxy = () => (_request, response) => void response.writeHead(401).end()
    await expect(gauntlet(elsewhere)).rejects.toThrow(
      /did not call http:.*make that its upstream.*status 401/,
    )
  })

  test('makes no more trials with a proxy that passes no good answer on', async () => {
    const report = await gauntlet(
      proxyOf(
        class extends Call {
          override onContent(): void {
            this.fail(500, 'my bug')
          }
        },
      ),
    )
    expect(failedOf(report)).toEqual({ 'FM-49 good': 'reported' })
    expect(new Set(report.leftOut.map(({ why }) => why))).toEqual(
      new Set(['a good answer does not come through']),
    )
  })

  test('says so when the proxy is gone, and since when', async () => {
    let close = () => {}
    const mortal: Proxy = (url) => {
      class Mortal extends Call {
        override onError(error: NodeJS.ErrnoException): void {
          if (this.response.headersSent) close()
          else super.onError(error)
        }
      }
      return proxyOf(Mortal)(url)
    }
    const upstreamPort = await freePort()
    const server = createServer(mortal(`http://127.0.0.1:${upstreamPort}`) as never)
    await using listening = await listenOn(server)
    close = () => {
      server.closeAllConnections()
      server.close()
    }
    const report = await runGauntlet({
      ...{ shape: 'openai', model: 'a', key: undefined, deadlines: toldDeadlines, isQuick: true, skip: [] },
      url: `${listening.url}/v1`,
      upstreamPort,
      only: ['FM-15', 'FM-16'],
    } as GauntletOptions)
    expect(failedOf(report)).toEqual({ 'FM-15 resetMidStream': 'cut' })
    expect(report.leftOut[0]).toMatchObject({ why: 'the proxy is gone since FM-15 resetMidStream' })
    // It has been closed already.
    server.listen(0)
    await once(server, 'listening')
  })
})
