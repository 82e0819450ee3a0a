import { afterEach, expect, test } from 'vitest'
import { redisStore } from '../../../src/resume/redis/store.js'
import { clientNamed } from './clients.js'
import { about, completed, event, listening, Reading } from './reading.js'
import { RedisServer } from './server.js'

// A Redis that is full refuses what grows it, and does all the rest.

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

/** A stream that one process produces and another one reads, which has had its first event. */
async function start(leaseMs: { producer: number; reader: number }) {
  const server = await RedisServer.start()
  closing.push(() => server.close())
  const connect = async (leaseMs: number) => {
    const { client, close } = await clientNamed('redis 6')(server.port)
    closing.push(close)
    return redisStore(client, { flushMs: 10, leaseMs })
  }
  const heard = listening()
  const recorder = await (await connect(leaseMs.producer)).record('id', about({ ttlMs: 30_000 }), heard)
  recorder.append(event(1), 1)
  const store = await connect(leaseMs.reader)
  const reading = new Reading(store, 'id')
  await expect.poll(() => reading.had).toBe(1)
  return {
    server,
    heard: heard.heard,
    recorder,
    store,
    reading,
    fill: () => server.cli('config', 'set', 'maxmemory', '1'),
    empty: () => server.cli('config', 'set', 'maxmemory', '0'),
    leftMs: async () => Number(await server.cli('pttl', 'unhang:{id}:m')),
  }
}

test('a producer lives on: no reader takes it for dead', async () => {
  const { server, fill, empty, recorder, reading, heard } = await start({ producer: 300, reader: 300 })
  await fill()
  recorder.append(event(2), 1)
  const before = await server.calls('pttl')
  await expect.poll(() => server.calls('pttl'), { timeout: 5_000 }).toBeGreaterThan(before + 5)
  expect(reading.end).toBeUndefined()
  await empty()
  await expect.poll(() => reading.had, { timeout: 5_000 }).toBe(2)
  await recorder.end(completed)
  expect((await reading.done).end).toEqual(completed)
  expect(recorder.complete).toBe(true)
  expect(heard).toEqual([])
})

test('an end that is refused is neither published nor the beginning of its last minute', async () => {
  const { fill, empty, recorder, reading, store, leftMs } = await start({ producer: 1_000, reader: 60_000 })
  await fill()
  await recorder.end(completed)
  expect(reading.end).toBeUndefined()
  expect(await leftMs()).toBeGreaterThan(500_000)
  await empty()
  expect((await reading.done).end).toEqual(completed)
  expect((await store.find('id'))?.end).toEqual(completed)
  await expect.poll(leftMs).toBeLessThanOrEqual(30_000)
})

test('a producer that is gone: its readers hear it, although it cannot be written', async () => {
  const { server, fill, reading, store, leftMs } = await start({ producer: 60_000, reader: 300 })
  await fill()
  for (const lease of (await server.cli('keys', 'unhang:lease:*')).split('\n')) await server.cli('del', lease)
  expect((await reading.done).end?.code).toBe('producer_lost')
  expect((await store.find('id'))?.end).toBeUndefined()
  expect(await leftMs()).toBeGreaterThan(500_000)
})
