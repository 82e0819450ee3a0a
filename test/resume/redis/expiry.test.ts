import { afterEach, expect, test } from 'vitest'
import { redisStore } from '../../../src/resume/redis/store.js'
import { clientNamed } from './clients.js'
import { RedisGate } from './gate.js'
import { about, completed, event, listening } from './reading.js'
import { RedisServer } from './server.js'

// What is known of a stream stays as long as it is produced.

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

async function open() {
  const server = await RedisServer.start()
  closing.push(() => server.close())
  const connect = async (leaseMs: number, port = server.port) => {
    const { client, close } = await clientNamed('redis 6')(port)
    closing.push(close)
    return redisStore(client, { flushMs: 10, leaseMs })
  }
  const leftMs = async () => Number(await server.cli('pttl', 'unhang:{id}:m'))
  return { server, connect, leftMs }
}

test('a process that looks whether a stream is still its own keeps it as well', async () => {
  const { server, connect, leftMs } = await open()
  const recorder = await (await connect(300)).record('id', about(), listening())
  // As half an hour of renewals would have it.
  await server.cli('pexpire', 'unhang:{id}:m', '20000')
  await server.cli('del', await server.cli('keys', 'unhang:lease:*'))
  await expect.poll(leftMs).toBeGreaterThan(500_000)
  await recorder.end(completed)
})

test('a late end does not shorten the life of the stream that has its id now', async () => {
  const { server, connect, leftMs } = await open()
  const gate = await RedisGate.open(server.port)
  closing.push(() => gate.close())
  const late = await (await connect(300, gate.port)).record('id', about({ ttlMs: 30_000 }), listening())
  late.append(event(1), 1)
  await expect.poll(() => server.calls('xadd')).toBe(1)
  gate.hold()
  const ended = late.end(completed)
  await expect.poll(() => server.cli('keys', 'unhang:lease:*')).toBe('')
  const recorder = await (await connect(60_000)).record('id', about(), listening())
  gate.letOn()
  await ended
  expect(await leftMs()).toBeGreaterThan(500_000)
  await recorder.end(completed)
})
