import { expect, onTestFinished, test } from 'vitest'
import { redisStore } from '../../../src/resume/redis/store.js'
import { clientNamed } from './clients.js'
import { RedisServer } from './server.js'

test('while Redis is gone, what clients ask for is not kept without a bound', async () => {
  const server = await RedisServer.start()
  const { client, close } = await clientNamed('redis 6')(server.port)
  onTestFinished(async () => {
    close()
    await server.close()
  })
  const store = redisStore(client)
  await server.kill()
  await expect(store.find('id')).rejects.toThrow()
  const asked = Array.from({ length: 15_000 }, (_, at) => store.find(`id-${at}`))
  const found = await Promise.allSettled(asked)
  expect(found.filter(({ status }) => status === 'fulfilled')).toEqual([])
  await server.start()
  await expect.poll(() => store.find('id').catch((error) => error), { timeout: 10_000 }).toBeUndefined()
  expect(await server.calls('get')).toBeLessThanOrEqual(10_100)
})
