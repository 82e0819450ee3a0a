import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { redisStore } from '../../../src/resume/redis/store.js'
import { type ConnectedClient, clientNamed } from './clients.js'
import { about, completed, event, listening, Reading, upTo } from './reading.js'
import { RedisServer } from './server.js'

let server: RedisServer
let connected: ConnectedClient
beforeAll(async () => {
  server = await RedisServer.start()
  connected = await clientNamed('redis 6')(server.port)
})
afterAll(async () => {
  connected.close()
  await server.close()
})

test('with a seal, nothing in Redis can be read, and another key opens nothing', async () => {
  const seal = randomBytes(32)
  const store = redisStore(connected.client, { prefix: 'sealed', flushMs: 10, seal })
  const recorder = await store.record('secret', about(), listening())
  recorder.append(event(1), 1)
  const reading = new Reading(store, 'secret')
  // In entries of their own: those that come later are deflated with what came first.
  for (let number = 2; number <= 4; number++) {
    await expect.poll(() => reading.had).toBe(number - 1)
    recorder.append(event(number), 1)
  }
  await recorder.end({ outcome: 'upstream_error', code: 'upstream_error', message: 'a word of the upstream' })
  const { numbers, end } = await reading.done
  expect({ numbers, message: end?.message }).toEqual({ numbers: upTo(4), message: 'a word of the upstream' })

  const contents: string[] = []
  for (const key of (await server.cli('keys', 'sealed:{secret}*')).split('\n')) {
    const read = key.includes(':e:') ? ['xrange', key, '-', '+'] : ['get', key]
    contents.push(await server.cli(...read))
  }
  expect(contents).toHaveLength(3)
  for (const text of contents) expect(text).not.toMatch(/word|chatcmpl|upstream/)

  const other = redisStore(connected.client, { prefix: 'sealed', seal: randomBytes(32) })
  expect(await other.find('secret')).toBeUndefined()
  expect((await new Reading(other, 'secret').done).end?.code).toBe('resume_forgotten')
})

test('every key of a stream expires: while it is produced, and sooner after its end', async () => {
  const store = redisStore(connected.client, { prefix: 'expiring', flushMs: 10 })
  const recorder = await store.record('id', about({ ttlMs: 30_000 }), listening())
  const reading = new Reading(store, 'id')
  for (let number = 1; number <= 3; number++) {
    recorder.append(event(number), 1)
    await expect.poll(() => reading.had).toBe(number)
  }
  const leftMs = async () => {
    const keys = (await server.cli('keys', 'expiring:{id}*')).split('\n')
    return Promise.all(keys.map(async (key) => Number(await server.cli('pttl', key))))
  }
  const during = await leftMs()
  expect(during).toHaveLength(3)
  for (const each of during) expect(each).toBeGreaterThan(500_000)
  await recorder.end(completed)
  for (const each of await leftMs()) {
    expect(each).toBeGreaterThan(0)
    expect(each).toBeLessThanOrEqual(30_000)
  }
})

test('more events than go together are all sent when they are due', async () => {
  const store = redisStore(connected.client, { flushMs: 10 })
  const recorder = await store.record('parts', about({ maxEvents: 20 }), listening())
  for (let number = 1; number <= 100; number++) recorder.append(event(number), 1)
  await expect.poll(async () => (await store.find('parts'))?.last).toBe(100)
  await recorder.end(completed)
})

test('ids may be anything that an app uses', async () => {
  const store = redisStore(connected.client, { flushMs: 10 })
  for (const id of ['}', '{}', 'a}b{c', 'ü 😀', '../x', 'x'.repeat(1_000)]) {
    const recorder = await store.record(id, about(), listening())
    recorder.append(event(1), 1)
    await recorder.end(completed)
    expect((await new Reading(store, id).done).numbers).toEqual([1])
  }
})

test('two processes that begin a stream of one id at once: one of them gets it, also after an ended one', async () => {
  const open = async () => {
    const { client, close } = await clientNamed('ioredis 6')(server.port)
    onTestFinished(close)
    return redisStore(client, { flushMs: 10 })
  }
  const stores = await Promise.all([open(), open(), open(), open()])
  for (let round = 0; round < 20; round++) {
    const begun = await Promise.allSettled(
      stores.map((store) => store.record('contended', about(), listening())),
    )
    const won = begun.filter((each) => each.status === 'fulfilled')
    expect(won).toHaveLength(1)
    for (const each of begun) {
      if (each.status === 'rejected') expect(each.reason).toMatchObject({ name: 'StreamIdTaken' })
    }
    await won[0]?.value.end(completed)
  }
})
