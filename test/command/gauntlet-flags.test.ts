import { afterEach, describe, expect, test, vi } from 'vitest'
import { readCommandLine } from '../../src/command/command.js'
import { gauntlet } from '../../src/command/gauntlet.js'
import { freePort } from '../support/free-port.js'
import { startProxied } from '../support/proxied.js'
import { listen } from '../support/proxy.js'
import { Call, proxyOf } from './hand-written-proxy.js'

afterEach(() => void vi.restoreAllMocks())

type Serve = (upstream: string) => Promise<AsyncDisposable & { url: string }>

/** @returns what `unhang gauntlet` printed, and its exit status */
async function run(serve: Serve, ...flags: string[]): Promise<{ status: number; text: string }> {
  const port = await freePort()
  await using proxy = await serve(`http://127.0.0.1:${port}`)
  const log = vi
    .spyOn(console, 'log')
    .mockClear()
    .mockImplementation(() => {})
  const args = [`${proxy.url}/v1`, '--upstream-port', String(port), ...flags]
  const { values, argument } = readCommandLine(gauntlet, args, {})
  const status = await gauntlet.run(values, argument)
  return { status, text: log.mock.calls.map(([line]) => line).join('\n') }
}

const byHand: Serve = (upstream) => listen(proxyOf(Call)(upstream))
const ofUnhang: Serve = (upstream) => startProxied(upstream)
const ofStrictUnhang: Serve = (upstream) => startProxied(upstream, { timeouts: { clientStallMs: 500 } })

describe('a flag of the gauntlet', () => {
  test('--api: the requests are of that API', async () => {
    const { status, text } = await run(ofUnhang, '--api', 'anthropic', '--only', 'FM-16', '--json')
    expect(status).toBe(0)
    expect(JSON.parse(text)).toMatchObject({ api: 'anthropic', requests: 2 })
    // This proxy knows the chats of OpenAI only.
    expect((await run(byHand, '--api', 'anthropic', '--only', 'FM-16', '--json')).status).toBe(1)
  })

  test('--skip: leaves out the trials of this failure mode', async () => {
    const { status, text } = await run(
      byHand,
      ...['--only', 'FM-16', '--only', 'FM-17', '--skip', 'FM-17', '--json'],
    )
    expect(status).toBe(0)
    const { results } = JSON.parse(text) as { results: { mode: string }[] }
    expect(results.map(({ mode }) => mode)).toEqual(['FM-49', 'FM-16'])
  })

  test.each([
    ['--first-event-ms', 'FM-05', 'onlyComments'],
    ['--upstream-stall-ms', 'FM-07', 'pings'],
  ])('%s: so long the client waits in %s', async (flag, mode, name) => {
    const { status, text } = await run(byHand, '--first-byte-ms', '1000', flag, '2500', '--only', mode)
    // A fifth more than the flag says, and half a second.
    expect(text).toContain('A proxy that hangs keeps it for 4 s.')
    expect(text).toMatch(new RegExp(`ok +${mode} +${name} +reported`))
    expect(status).toBe(0)
  })

  test('--client-stall-ms: so long a client that reads nothing may keep its upstream', async () => {
    const args = ['--first-byte-ms', '1000', '--only', 'FM-27', '--client-stall-ms']
    // The one by hand waits for nine seconds.
    const late = await run(byHand, ...args, '1000')
    // Twice as long as the flag says, a fifth more, and half a second.
    expect(late.text).toContain('A proxy that hangs keeps it for 3 s.')
    expect(late.text).toMatch(/FAIL +FM-27 +stops reading +hang/)
    expect(late.status).toBe(1)
    const inTime = await run(ofStrictUnhang, ...args, '2500')
    expect(inTime.text).toMatch(/ok +FM-27 +stops reading +fine/)
    expect(inTime.status).toBe(0)
    const none = await run(byHand, ...args, 'false', '--json')
    expect(JSON.parse(none.text)).toMatchObject({
      leftOut: [{ mode: 'FM-27', why: 'the proxy has no such deadline' }],
    })
  })
})
