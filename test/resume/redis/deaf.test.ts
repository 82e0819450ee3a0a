import { afterEach, expect, test } from 'vitest'
import { redisStore } from '../../../src/resume/redis/store.js'
import { clientNamed } from './clients.js'
import { about, completed, event, listening, Reading } from './reading.js'
import { RedisServer } from './server.js'

// A process that could not listen at first hears later what it is told.

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

async function open() {
  const server = await RedisServer.start()
  closing.push(() => server.close())
  const connect = async () => {
    const { client, close } = await clientNamed('redis 6')(server.port)
    closing.push(close)
    return client
  }
  return { server, connect, channels: () => server.cli('pubsub', 'channels', 'unhang:*') }
}

test('a client that cannot be duplicated at first', async () => {
  const { connect, channels } = await open()
  const client = await connect()
  let failures = 0
  const duplicate = (...about: never[]) => {
    if (failures++ === 0) throw new Error('no more sockets')
    return client.duplicate(...about)
  }
  const store = redisStore(Object.create(client, { duplicate: { value: duplicate } }), { flushMs: 10 })
  const heard = listening()
  const recorder = await store.record('id', about(), heard)
  await expect.poll(channels, { timeout: 5_000 }).toContain('unhang:p:')
  const other = redisStore(await connect(), { flushMs: 10 })
  expect(await other.stop('id', 'enough')).toBe(true)
  await expect.poll(() => heard.heard).toEqual(['stop enough'])
  await recorder.end(completed)
})

test('a user who may not subscribe at first: a producer and a follower', async () => {
  const { server, connect, channels } = await open()
  await server.cli('acl', 'setuser', 'default', 'resetchannels')
  const store = redisStore(await connect(), { flushMs: 10 })
  const recorder = await store.record('id', about(), listening())
  recorder.append(event(1), 1)
  const reading = new Reading(redisStore(await connect()), 'id')
  await expect.poll(() => reading.had, { timeout: 5_000 }).toBe(1)
  await server.cli('acl', 'setuser', 'default', 'allchannels')
  await expect.poll(async () => (await channels()).split('\n'), { timeout: 5_000 }).toHaveLength(2)
  await expect.poll(() => recorder.followers, { timeout: 5_000 }).toBe(1)
  await recorder.end(completed)
  expect((await reading.done).end).toEqual(completed)
})

test('a follower that cannot read the dictionary of the events reads them later', async () => {
  const { server, connect } = await open()
  const store = redisStore(await connect(), { flushMs: 10 })
  const recorder = await store.record('id', about(), listening())
  for (let number = 1; number <= 3; number++) {
    recorder.append(event(number), 1)
    await expect.poll(async () => (await store.find('id'))?.last).toBe(number)
  }
  expect(await server.cli('keys', 'unhang:{id}:d:*')).not.toBe('')
  await server.cli('acl', 'setuser', 'default', 'resetkeys', '~*:m', '~*:e:*', '~*:lease:*')
  const reading = new Reading(redisStore(await connect()), 'id')
  await expect.poll(() => server.cli('acl', 'log')).toContain('unhang:{id}:d:')
  expect(reading.had).toBe(1)
  await server.cli('acl', 'setuser', 'default', 'allkeys')
  await expect.poll(() => reading.had, { timeout: 5_000 }).toBe(3)
  await recorder.end(completed)
  const { numbers, gaps, end } = await reading.done
  expect({ numbers, gaps, end }).toEqual({ numbers: [1, 2, 3], gaps: [], end: completed })
})
