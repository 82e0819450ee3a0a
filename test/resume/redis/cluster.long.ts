import { afterAll, beforeAll } from 'vitest'
import { redisStore } from '../../../src/resume/redis-store.js'
import { storeContract } from '../store-contract.js'
import { clusterClients } from './clients.js'
import { RedisClusterServer } from './server.js'

let cluster: RedisClusterServer
beforeAll(async () => {
  cluster = await RedisClusterServer.start()
}, 30_000)
afterAll(() => cluster.close())

for (const [name, connect] of Object.entries(clusterClients)) {
  storeContract(`a cluster, with ${name}`, async () => {
    const [first, second] = await Promise.all([connect(cluster.ports), connect(cluster.ports)])
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
