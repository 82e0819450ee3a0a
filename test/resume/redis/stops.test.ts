import { afterEach, expect, test } from 'vitest'
import { redisStore } from '../../../src/resume/redis/store.js'
import { clientNamed } from './clients.js'
import { about, completed, event, listening } from './reading.js'
import { RedisServer } from './server.js'

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

/** A stream that one process produces, and another process. */
async function start() {
  const server = await RedisServer.start()
  closing.push(() => server.close())
  const connect = async () => {
    const { client, close } = await clientNamed('redis 6')(server.port)
    closing.push(close)
    return redisStore(client, { flushMs: 10 })
  }
  const { heard, ...events } = listening()
  const recorder = await (await connect()).record('id', about(), events)
  recorder.append(event(1), 1)
  const other = await connect()
  await expect.poll(async () => (await other.find('id'))?.last).toBe(1)
  return { server, heard, recorder, other }
}

test('a stop that cannot be published is not one', async () => {
  const { server, heard, recorder, other } = await start()
  await server.cli('acl', 'setuser', 'default', '-publish')
  await expect(other.stop('id')).rejects.toThrow(/publish/i)
  await server.cli('acl', 'setuser', 'default', '+publish')
  expect(await other.stop('id', 'enough')).toBe(true)
  await expect.poll(() => heard).toEqual(['stop enough'])
  await recorder.end(completed)
})

test('a stop meets the stream that has the id, not one that is asking for it', async () => {
  const { heard, recorder, other } = await start()
  const asking = listening()
  const asked = other.record('id', about(), asking)
  expect(await other.stop('id', 'enough')).toBe(true)
  await expect.poll(() => heard).toEqual(['stop enough'])
  await expect(asked).rejects.toThrow(expect.objectContaining({ name: 'StreamIdTaken' }))
  expect(asking.heard).toEqual([])
  await recorder.end(completed)
})
