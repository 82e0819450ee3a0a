import { afterAll, beforeAll } from 'vitest'
import { redisStore } from '../../../src/resume/redis/store.js'
import { secretIdContract } from '../secret-id-contract.js'
import { clientNamed } from './clients.js'
import { RedisServer } from './server.js'

let server: RedisServer
beforeAll(async () => {
  server = await RedisServer.start()
})
afterAll(() => server.close())

for (const name of ['redis 6', 'ioredis 6']) {
  secretIdContract(name, async () => {
    const { client, close } = await clientNamed(name)(server.port)
    const prefix = `secret-${name.replace(' ', '-')}`
    const store = redisStore(client, { prefix, flushMs: 10 })
    return {
      producer: store,
      reader: store,
      close,
      /** Another program has written under the key of the stream: Redis refuses what the store asks. */
      async breakOff(id) {
        await server.cli('del', `${prefix}:{${id}}:m`)
        await server.cli('rpush', `${prefix}:{${id}}:m`, 'x')
      },
    }
  })
}
