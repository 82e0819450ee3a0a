import { describe, expect, test } from 'vitest'
import type { StreamOutcome } from '../../../src/index.js'
import type { UpstreamExchange } from '../../../src/testing/index.js'
import { chatAnswer, chatChunk, heartbeatPattern } from '../chat.js'
import { bugTrigger, type ChatRequest, jsonAnswer, type Mount, type MountSettings } from './mount.js'
import { observeStreams } from './observe.js'
import { type Scene, startScene } from './scene.js'
import { dataOf, expectAnswer, expectCounts, expectFailure, type Seen } from './seen.js'

/** The part that is switched off, alone. */
interface Switch {
  options?: NonNullable<MountSettings['options']>
  detect?: false
}

const switches: Record<string, Switch> = {
  'timeouts: false': { options: { timeouts: false } },
  'writer.headers: false': { options: { writer: { headers: false } } },
  'cleanup: false': { options: { cleanup: false } },
  'reportErrors: false': { options: { reportErrors: false } },
  'writer.heartbeatMs: Infinity': { options: { writer: { heartbeatMs: Number.POSITIVE_INFINITY } } },
  'writer.heartbeatMs: false': { options: { writer: { heartbeatMs: false } } },
  "relay.onTruncated: 'accept'": { options: { relay: { onTruncated: 'accept' } } },
  'when: always, or responds': { detect: false },
}

/** The fault of the upstream, by the path of the request. */
const upstream: Record<string, (exchange: UpstreamExchange) => unknown> = {
  good: (exchange) =>
    exchange
      .open()
      .data(...chatAnswer('Hel', 'lo'))
      .end(),
  'hangs-up': (exchange) => exchange.open().data(chatChunk('Hello')).fin(),
  truncates: (exchange) => exchange.open().data(chatChunk('Hello')).end(),
  half: (exchange) => exchange.open().data(chatChunk('Hello')).chunk('data: {"half').fin(),
  bug: (exchange) => exchange.open().data(chatChunk('Hello'), bugTrigger),
  waits: (exchange) => exchange.open().data(chatChunk('Hello')),
  'is-broken': (exchange) => exchange.fin(),
  'never-begins': () => {},
}

const script = (exchange: UpstreamExchange) => upstream[exchange.head.split(/[ /]+/)[1] ?? '']?.(exchange)

/** The sentences of a mount hold with any part switched off, but for the one that the switch is for. */
export function testSwitches(mount: Mount): void {
  describe.each(Object.entries(switches).filter(([, { detect }]) => mount.detects || detect !== false))(
    'with %s',
    (_name, { options = {}, detect }) => {
      const reports = options.reportErrors !== false
      const accepts = options.relay?.onTruncated === 'accept'
      // Nothing that a guard's handler has not begun is a stream then.
      const isGuessing = !mount.isLate && (mount.kind === 'route' || detect !== false)
      const settings = { options, ...(detect === false && { detect: false as const }) }

      /** A failure of a stream: reported, or cut. */
      function expectFailed(seen: Seen, code: string): void {
        if (reports) return expectFailure(seen, 'Hello', code)
        expect(seen).toMatchObject({ status: 200, ending: 'cut' })
        expect(dataOf(seen)).toEqual([JSON.stringify(chatChunk('Hello'))])
      }

      async function seen(scene: Scene, request: ChatRequest, outcome: StreamOutcome): Promise<Seen> {
        const client = await scene.ask(request)
        const result = await client.finished()
        const end = await scene.end(client.requestId)
        expect(end.outcome).toBe(outcome)
        if (result.ending === 'complete') expectCounts(end, result)
        return result
      }

      test('each stream has the ending that it has otherwise', async () => {
        using observation = observeStreams()
        await using scene = await startScene(mount, script, settings)
        const good = await seen(scene, { upstreamPath: 'good' }, 'completed')
        expectAnswer(good, 'Hello')
        expect('x-accel-buffering' in good.headers).toBe(options.writer?.headers !== false)
        expectFailed(await seen(scene, { upstreamPath: 'hangs-up' }, 'upstream_hangup'), 'connection_reset')
        expectFailed(await seen(scene, { upstreamPath: 'bug', mapped: true }, 'internal'), 'internal_error')
        const outcome = accepts ? 'completed' : 'upstream_truncated'
        const truncated = await seen(scene, { upstreamPath: 'truncates' }, outcome)
        if (accepts) expectAnswer(truncated, 'Hello')
        else expectFailed(truncated, 'upstream_truncated')
        const half = await seen(scene, { upstreamPath: 'half' }, 'upstream_hangup')
        expect(half.ending).toBe(reports ? 'complete' : 'cut')
        const reported = observation.all.filter(([name]) => name === 'reported')
        expect(reported).toHaveLength(reports ? (accepts ? 3 : 4) : 0)
      })

      test('a client that leaves cancels the upstream', async () => {
        await using scene = await startScene(mount, script, settings)
        const client = await scene.ask({ upstreamPath: 'waits' })
        await client.received('Hello')
        client.leave()
        await (await scene.exchange('waits')).closed
        expect(await scene.end()).toMatchObject({ outcome: 'client_gone' })
      })

      test('a failure before the head has a status, a request for no stream has none', async () => {
        await using scene = await startScene(mount, script, settings)
        const broken = await (await scene.ask({ upstreamPath: 'is-broken' })).finished()
        if (reports && isGuessing) {
          expect(broken.status).toBe(503)
          expect(JSON.parse(broken.text).error.code).toBe('connection_reset')
        } else expect(broken.ending === 'cut' || broken.status >= 500).toBe(true)
        const plain = await (await scene.ask({ stream: false, upstreamPath: 'good' })).finished()
        if (mount.kind === 'route' && detect === false) expectAnswer(plain, 'Hello')
        else expect(plain).toMatchObject({ status: 200, ending: 'complete', text: jsonAnswer })
      })

      if (options.timeouts === false) return
      test('each deadline ends what it is for, and heartbeats fill the silence before it', async () => {
        const timeouts = { inactivityMs: 100, firstByteMs: 100 }
        const writer = { heartbeatMs: 30, ...options.writer }
        const timed = { ...settings, options: { ...options, timeouts, writer } }
        await using scene = await startScene(mount, script, timed)
        const [silent, mute] = await Promise.all([
          seen(scene, { upstreamPath: 'waits' }, 'timeout'),
          isGuessing ? seen(scene, { upstreamPath: 'never-begins' }, 'timeout') : undefined,
        ])
        expectFailed(silent, 'upstream_inactivity_timeout')
        await (await scene.exchange('waits')).closed
        expect(heartbeatPattern.test(silent.text)).toBe(writer.heartbeatMs === 30)
        if (!mute) return
        await (await scene.exchange('never-begins')).closed
        if (reports) expect(mute.status).toBe(504)
        else expect(mute.ending).toBe('cut')
      })
    },
  )
}
