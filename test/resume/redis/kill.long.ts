import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { redisStore } from '../../../src/resume/redis/store.js'
import { startProgram } from '../../support/program.js'
import { clients, connectTo } from './clients.js'
import type { Producer } from './producer.js'
import { completed, Reading, upTo } from './reading.js'
import { RedisClusterServer, RedisServer } from './server.js'

const leaseMs = 2_000
let server: RedisServer
let cluster: RedisClusterServer
beforeAll(async () => {
  server = await RedisServer.start()
  cluster = await RedisClusterServer.start()
})
afterAll(() => Promise.all([server.close(), cluster.close()]))

const names = [...Object.keys(clients), 'a cluster, with redis 6', 'a cluster, with ioredis 6']

describe.each(names)('processes with %s', (name) => {
  const isCluster = name.startsWith('a cluster')
  const servers = () => (isCluster ? cluster.nodes : [server])
  const ports = () => servers().map(({ port }) => port)
  const startProducer = () =>
    startProgram<Producer>('test/resume/redis/producer.ts', {
      REDIS_PORTS: ports().join(),
      REDIS_CLIENT: name,
      LEASE_MS: String(leaseMs),
    })

  async function startReader() {
    const connected = await connectTo(name, ports())
    return {
      store: redisStore(connected.client, { leaseMs }),
      [Symbol.dispose]: () => connected.close(),
    }
  }

  test('a producer that is killed: all that was recorded, then producer_lost, for every reader', async () => {
    await using producer = startProducer()
    using reader = await startReader()
    using other = await startReader()
    const id = `killed ${name}`
    await producer.ask('record', id)
    const readings = [
      new Reading(reader.store, id),
      new Reading(other.store, id),
      new Reading(reader.store, id),
    ]
    await producer.ask('produce', id)
    await expect
      .poll(() => Math.min(...readings.map(({ had }) => had)), { timeout: 5_000 })
      .toBeGreaterThan(50)
    producer.kill('SIGKILL')
    const killedAt = performance.now()
    await Promise.all(readings.map(({ done }) => done))
    const tookMs = performance.now() - killedAt
    const recorded = (await reader.store.find(id))?.last ?? 0
    for (const { numbers, gaps, end } of readings) {
      expect(numbers).toEqual(upTo(recorded))
      expect(gaps).toEqual([])
      expect(end?.code).toBe('producer_lost')
    }
    // The promise, and a second for a busy machine. A connection that has just opened, as those to a cluster, gives producers 5 s to renew.
    expect(tookMs).toBeLessThan(Math.max(leaseMs, 5_000) + 1_000 + 1_000)
    // A later client gets the same.
    const late = await new Reading(other.store, id).done
    expect({ last: late.had, code: late.end?.code }).toEqual({ last: recorded, code: 'producer_lost' })
  })

  test('a producer that is killed before its first event', async () => {
    await using producer = startProducer()
    using reader = await startReader()
    const id = `killed early ${name}`
    await producer.ask('record', id)
    const reading = new Reading(reader.store, id)
    producer.kill('SIGKILL')
    await reading.done
    expect(reading).toMatchObject({ numbers: [], gaps: [], end: { code: 'producer_lost' } })
    // The id is free again.
    await using next = startProducer()
    await next.ask('record', id)
    await next.ask('end', { id, how: completed })
    expect((await new Reading(reader.store, id).done).end).toEqual(completed)
  })

  test('a producer that stood still for longer than its lease is fenced', async () => {
    await using producer = startProducer()
    using reader = await startReader()
    const id = `frozen ${name}`
    await producer.ask('record', id)
    await producer.ask('produce', id)
    const reading = new Reading(reader.store, id)
    await expect.poll(() => reading.had, { timeout: 5_000 }).toBeGreaterThan(20)
    producer.kill('SIGSTOP')
    await reading.done
    expect(reading.end?.code).toBe('producer_lost')
    producer.kill('SIGCONT')
    await expect
      .poll(async () => (await producer.ask('state', id)).heard, { timeout: 5_000 })
      .toEqual(['fenced'])
    expect((await producer.ask('state', id)).complete).toBe(false)
    // Nothing of what it appended meanwhile was added.
    expect((await reader.store.find(id))?.last).toBe(reading.had)
  })

  test('a producer that stood still without a reader goes on', async () => {
    await using producer = startProducer()
    using reader = await startReader()
    const id = `asleep ${name}`
    await producer.ask('record', id)
    await producer.ask('produce', id)
    await expect.poll(async () => (await reader.store.find(id))?.last ?? 0).toBeGreaterThan(0)
    producer.kill('SIGSTOP')
    await new Promise((resolve) => setTimeout(resolve, leaseMs + 200))
    producer.kill('SIGCONT')
    await producer.ask('end', { id, how: completed })
    const { appended, heard, complete } = await producer.ask('state', id)
    expect({ heard, complete }).toEqual({ heard: [], complete: true })
    const reading = await new Reading(reader.store, id).done
    expect(reading.numbers).toEqual(upTo(appended))
    expect(reading.end).toEqual(completed)
  })

  test('a stop from another process, before the first event, and twice', async () => {
    await using producer = startProducer()
    using reader = await startReader()
    const id = `stopped ${name}`
    await producer.ask('record', id)
    expect(await reader.store.stop(id, 'the user')).toBe(true)
    expect(await reader.store.stop(id, 'again')).toBe(true)
    await expect
      .poll(async () => (await producer.ask('state', id)).heard, { timeout: 5_000 })
      .toEqual(['stop the user'])
    const how = { outcome: 'aborted', code: 'request_aborted', message: 'the user' }
    await producer.ask('end', { id, how })
    expect(await reader.store.stop(id)).toBe(false)
    expect((await new Reading(reader.store, id).done).end).toEqual(how)
  })

  test('a stop of a stream whose process is gone ends it at once', async () => {
    await using producer = startProducer()
    using reader = await startReader()
    const id = `stopped late ${name}`
    await producer.ask('record', id)
    const reading = new Reading(reader.store, id)
    producer.kill('SIGKILL')
    expect(await producer.ended).toBe('SIGKILL')
    // Redis has seen the connection close, or is about to; until then it would deliver the call to no process.
    const subscribed = () =>
      Promise.all(
        servers().map((each) => each.cli('pubsub', isCluster ? 'shardchannels' : 'channels', 'unhang:p:*')),
      )
    await expect.poll(async () => (await subscribed()).join('')).toBe('')
    expect(await reader.store.stop(id, 'the user')).toBe(true)
    expect((await reading.done).end).toMatchObject({ outcome: 'aborted', message: 'the user' })
  })

  test('a process ends that has closed its client', async () => {
    await using producer = startProducer()
    using reader = await startReader()
    const id = `closed ${name}`
    await producer.ask('record', id)
    await producer.ask('produce', id)
    const reading = new Reading(reader.store, id)
    await expect.poll(() => reading.had, { timeout: 5_000 }).toBeGreaterThan(0)
    await producer.ask('end', { id, how: completed })
    await producer.ask('close').catch(() => {})
    expect(await producer.ended).toBe(0)
  })
})
