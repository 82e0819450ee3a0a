import { afterAll, beforeAll } from 'vitest'
import { redisStore } from '../../../src/resume/redis/store.js'
import { storeContract } from '../store-contract.js'
import { clients } from './clients.js'
import { RedisServer } from './server.js'

let server: RedisServer
beforeAll(async () => {
  server = await RedisServer.start()
})
afterAll(() => server.close())

for (const [name, connect] of Object.entries(clients)) {
  storeContract(name, async () => {
    const [first, second] = await Promise.all([connect(server.port), connect(server.port)])
    return {
      producer: redisStore(first.client, { flushMs: 25 }),
      reader: redisStore(second.client, { flushMs: 25 }),
      close() {
        first.close()
        second.close()
      },
    }
  })
}
