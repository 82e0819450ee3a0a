import { afterEach, expect, test } from 'vitest'
import { redisStore } from '../../../src/resume/redis/store.js'
import { clientNamed } from './clients.js'
import { about, completed, event, listening, Reading } from './reading.js'
import { RedisServer } from './server.js'

// Three ways in which a producer that lives may look as if it did not.

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

/** A stream whose producer does not look after its lease for a while, and a process that looks often. */
async function start() {
  const server = await RedisServer.start(['--appendonly', 'yes', '--appendfsync', 'always'])
  closing.push(() => server.close())
  const connect = async (leaseMs: number) => {
    const { client, close } = await clientNamed('redis 6')(server.port)
    closing.push(close)
    return redisStore(client, { flushMs: 10, leaseMs })
  }
  const events = listening()
  const recorder = await (await connect(60_000)).record('id', about(), events)
  const reader = await connect(300)
  recorder.append(event(1), 1)
  await expect.poll(async () => (await reader.find('id'))?.last).toBe(1)
  const lease = await server.cli('keys', 'unhang:lease:*')
  return {
    server,
    recorder,
    reader,
    events,
    loseLease: () => server.cli('del', lease),
    hasLease: async () => (await server.cli('exists', lease)) === '1',
    async renewLease() {
      await server.cli('set', lease, '1', 'px', '60000')
    },
    async looks(count: number) {
      const before = await server.calls('pttl')
      await expect.poll(() => server.calls('pttl'), { timeout: 5_000 }).toBeGreaterThanOrEqual(before + count)
    },
    async goesOn() {
      expect((await reader.find('id'))?.end).toBeUndefined()
      expect(events.heard).toEqual([])
      await recorder.end(completed)
      expect((await new Reading(reader, 'id').done).end).toEqual(completed)
    },
  }
}

test('a lease that was missing while a follower did not read, and is there again', async () => {
  const stream = await start()
  const following = stream.reader.follow('id', 0, new AbortController().signal)[Symbol.asyncIterator]()
  expect((await following.next()).value).toMatchObject({ last: 1 })
  await stream.loseLease()
  await stream.looks(4)
  await stream.renewLease()
  const next = following.next()
  // Its look is over when it has gone on to listen, or to the end.
  await Promise.race([next, stream.looks(2)])
  await stream.goesOn()
  expect((await next).value).toEqual({ end: completed })
})

test('a chosen id is asked for when Redis is just back, and the lease is not yet', async () => {
  const stream = await start()
  await stream.server.kill()
  await stream.server.start()
  await expect.poll(() => stream.reader.find('id').catch(() => undefined)).toBeDefined()
  await expect.poll(stream.hasLease).toBe(true)
  await stream.loseLease()
  await expect(stream.reader.record('id', about(), listening())).rejects.toThrow(
    expect.objectContaining({ name: 'StreamIdTaken' }),
  )
  await stream.renewLease()
  await stream.goesOn()
})

test('leases that could not be looked for, and are not there when they can be', async () => {
  const stream = await start()
  await stream.server.cli('acl', 'setuser', 'default', '-pttl')
  const reading = new Reading(stream.reader, 'id')
  await expect.poll(() => stream.server.cli('acl', 'log')).toContain('pttl')
  await stream.loseLease()
  await stream.server.cli('acl', 'setuser', 'default', '+pttl')
  await stream.looks(4)
  await stream.renewLease()
  await stream.goesOn()
  expect((await reading.done).end).toEqual(completed)
})
