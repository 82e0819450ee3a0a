import { afterEach, expect, test, vi } from 'vitest'
import { liveStreams } from '../../src/server/live-streams.js'
import { startMixedStreams } from '../support/mixed-streams.js'
import { agent, upstreamClients } from '../support/proxy.js'

afterEach(() => void vi.useRealTimers())

test('FM-50: after 1,000 mixed streams no timer, listener or socket is left, and each ended as it should', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  const shared = new AbortController()
  const added = vi.spyOn(shared.signal, 'addEventListener')
  const removed = vi.spyOn(shared.signal, 'removeEventListener')
  await using streams = await startMixedStreams(upstreamClients.http, { signal: shared.signal })
  const total = 1_000
  for (let index = 0; index < total; index += 20) {
    await Promise.all(Array.from({ length: 20 }, (_, offset) => streams.run(index + offset)))
  }
  await streams.proxy.end(total - 1)
  while (liveStreams().size > 0) await new Promise(setImmediate)

  const outcomes = streams.proxy.ends.map(({ outcome }) => outcome)
  expect(outcomes).toHaveLength(total)
  const expected = Array.from({ length: total }, (_, index) => streams.expected(index)[0])
  expect(outcomes.sort()).toEqual(expected.sort())
  expect(vi.getTimerCount()).toBe(0)
  expect(added.mock.calls.length).toBe(total)
  expect(removed.mock.calls.length).toBe(total)
  // Only the connections of complete answers are open now, kept for the next ones.
  vi.useRealTimers()
  for (const { socket } of streams.upstream.exchanges) {
    for (const event of ['error', 'close', 'drain']) expect(socket.listenerCount(event)).toBeLessThan(8)
  }
  expect(streams.upstream.openConnections).toBeLessThanOrEqual(40)
  for (let good = 0; good < 30; good++) {
    await streams.run(streams.goodAfter(total) + 7 * good)
    await streams.proxy.end(total + good)
  }
  // Nor have the proxy's own kept sockets collected anything from the streams they served.
  const kept = Object.values(agent.freeSockets).flatMap((sockets) => sockets ?? [])
  expect(kept.length).toBeGreaterThan(0)
  for (const socket of kept) {
    for (const event of ['error', 'close', 'connect', 'drain', 'end']) {
      expect(socket.listenerCount(event), event).toBeLessThan(6)
    }
  }
}, 60_000)
