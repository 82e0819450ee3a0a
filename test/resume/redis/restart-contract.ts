import { afterEach, describe, expect, test } from 'vitest'
import { redisStore } from '../../../src/resume/redis/store.js'
import { clientNamed } from './clients.js'
import { about, completed, event, listening, Reading, upTo } from './reading.js'
import { RedisServer } from './server.js'

/** A stream whose Redis is killed, or stands still. */
export function restartContract(name: string): void {
  const connect = clientNamed(name)

  const closing: (() => unknown)[] = []
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close()
  })

  async function startServer(options: readonly string[] = []): Promise<RedisServer> {
    const server = await RedisServer.start(options)
    closing.push(() => server.close())
    return server
  }

  describe(`a Redis that is killed, with ${name}`, () => {
    async function openStore(server: RedisServer, leaseMs = 5_000) {
      return redisStore((await connection(server)).client, { flushMs: 10, leaseMs })
    }

    /** One event every few milliseconds, from a store, until it is stopped. */
    async function produce(server: RedisServer, id: string, leaseMs?: number) {
      const store = await openStore(server, leaseMs)
      const events = listening()
      const recorder = await store.record(id, about(), events)
      let last = 0
      const producing = setInterval(() => recorder.append(event(++last), 1), 3)
      closing.push(() => clearInterval(producing))
      return {
        recorder,
        heard: events.heard,
        get last() {
          return last
        },
        async end() {
          clearInterval(producing)
          await recorder.end(completed)
        },
      }
    }

    test('comes back with its data: nothing is lost, and no client notices', async () => {
      const server = await startServer(['--appendonly', 'yes', '--appendfsync', 'always'])
      const stream = await produce(server, 'kept')
      const reading = new Reading(await openStore(server), 'kept')
      await expect.poll(() => reading.had).toBeGreaterThan(50)
      await server.kill()
      const then = stream.last
      await expect.poll(() => stream.last).toBeGreaterThan(then + 100)
      await server.start()
      const again = stream.last
      await expect.poll(() => reading.had, { timeout: 10_000 }).toBeGreaterThan(again + 20)
      await stream.end()
      const { numbers, gaps, end } = await reading.done
      expect({ gaps, end }).toEqual({ gaps: [], end: completed })
      expect(numbers).toEqual(upTo(stream.last))
      expect(stream.recorder.complete).toBe(true)
      expect(stream.heard).toEqual([])
      // A later client reads the same.
      const late = await new Reading(await openStore(server), 'kept').done
      expect(late.numbers).toEqual(upTo(stream.last))
    })

    test('comes back after longer than a lease: a producer is not taken for dead', async () => {
      const server = await startServer(['--appendonly', 'yes', '--appendfsync', 'always'])
      const leaseMs = 400
      const stream = await produce(server, 'away', leaseMs)
      const reading = new Reading(await openStore(server, leaseMs), 'away')
      await expect.poll(() => reading.had).toBeGreaterThan(20)
      await server.kill()
      const goneAt = performance.now()
      await expect.poll(() => performance.now() - goneAt, { timeout: 5_000 }).toBeGreaterThan(2 * leaseMs)
      await server.start()
      const again = stream.last
      await expect.poll(() => reading.had, { timeout: 10_000 }).toBeGreaterThan(again + 20)
      await stream.end()
      const { numbers, gaps, end } = await reading.done
      expect({ gaps, end }).toEqual({ gaps: [], end: completed })
      expect(numbers).toEqual(upTo(stream.last))
      expect(stream.heard).toEqual([])
    })

    test('comes back empty: lost events are reported, and recording goes on', async () => {
      const server = await startServer()
      const stream = await produce(server, 'lost')
      const store = await openStore(server)
      const reading = new Reading(store, 'lost')
      await expect.poll(() => reading.had).toBeGreaterThan(50)
      await server.kill()
      const then = stream.last
      await expect.poll(() => stream.last).toBeGreaterThan(then + 30)
      await server.start()
      const again = stream.last
      await expect.poll(() => reading.had, { timeout: 10_000 }).toBeGreaterThan(again + 20)
      await stream.end()
      // This one had read everything that Redis lost, but perhaps for the last entry.
      const { numbers, gaps, end } = await reading.done
      expect(end).toEqual(completed)
      expect(numbers.length + gaps.reduce((sum, [from, to]) => sum + to - from + 1, 0)).toBe(stream.last)
      // A later client hears of the missing beginning, and reads the rest.
      const late = await new Reading(store, 'lost').done
      expect(late.gaps).toHaveLength(1)
      expect(late.gaps[0]?.[0]).toBe(1)
      expect(late.numbers).toEqual(upTo(stream.last).slice(late.gaps[0]?.[1]))
      expect(late.end).toEqual(completed)
      expect(stream.recorder.complete).toBe(false)
      expect(stream.heard).toEqual([])
    })

    test('never comes back: nothing waits and nothing throws, and readers get an error', async () => {
      const server = await startServer()
      const store = await openStore(server)
      const events = listening()
      const recorder = await store.record('gone', about(), events)
      recorder.append(event(1), 1)
      const reader = redisStore((await connection(server)).client, { leaseMs: 300 })
      const reading = new Reading(reader, 'gone')
      await expect.poll(() => reading.had).toBe(1)
      await server.kill()
      expect(recorder.complete).toBe(true)
      // Three times what is kept for Redis to come back.
      const large = `data: ${'x'.repeat(64 * 1024)}\n\n`
      for (let bytes = 0; bytes < 3 * 1024 * 1024; bytes += large.length) recorder.append(large, 1)
      expect(recorder.complete).toBe(false)
      const next = await store.record('afterwards', about(), events)
      next.append(event(1), 1)
      expect((await reading.done).end?.code).toBe('resume_unreachable')
      await Promise.all([recorder.end(completed), next.end(completed)])
      expect(next.complete).toBe(false)
      expect(events.heard).toEqual([])
    })

    test('stands still: events that it does not take are given up, and later streams are recorded again', async () => {
      const server = await startServer()
      const store = await openStore(server)
      const events = listening()
      const recorder = await store.record('slow', about(), events)
      for (let number = 1; number <= 10; number++) recorder.append(event(number), 1)
      await expect.poll(async () => (await store.find('slow'))?.last).toBe(10)
      await server.kill('SIGSTOP')
      let last = 10
      while (recorder.complete) recorder.append(event(++last), 1)
      expect(last).toBeLessThan(20_000)
      // A stream that begins now begins as if there were no Redis.
      const next = await store.record('meanwhile', about(), events)
      await server.kill('SIGCONT')
      next.append(event(1), 1)
      await next.end(completed)
      expect(next.complete).toBe(true)
      await expect
        .poll(
          async () => {
            recorder.append(event(++last), 1)
            return (await store.find('slow'))?.last ?? 0
          },
          { timeout: 10_000 },
        )
        .toBeGreaterThan(10)
      await recorder.end(completed)
      const { numbers, gaps, end } = await new Reading(store, 'slow').done
      expect(end).toEqual(completed)
      expect(numbers.slice(0, 10)).toEqual(upTo(10))
      expect(numbers.at(-1)).toBe(last)
      expect(gaps).toHaveLength(1)
      expect(events.heard).toEqual([])
    })

    async function connection(server: RedisServer) {
      const opened = await connect(server.port)
      closing.push(() => opened.close())
      return opened
    }
  })
}
