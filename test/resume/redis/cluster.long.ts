import { afterAll, beforeAll } from 'vitest'
import { storeContract } from '../store-contract.js'
import { clusterClients, connectTo } from './clients.js'
import { RedisClusterServer } from './server.js'
import { openStores } from './stores.js'

let cluster: RedisClusterServer
beforeAll(async () => {
  cluster = await RedisClusterServer.start()
}, 30_000)
afterAll(() => cluster.close())

for (const [name, connect] of Object.entries(clusterClients)) {
  storeContract(`a cluster, with ${name}`, () => openStores(() => connect(cluster.ports)))
}

storeContract('a cluster, with a client that cannot subscribe to one shard', () =>
  openStores(() => connectOld(cluster.ports)),
)

/** As `redis` 4 was before 4.6: a client of which everything else is used. */
async function connectOld(ports: readonly number[]) {
  const { client, close } = await connectTo('a cluster, with redis 6', ports)
  return { client: Object.create(client, { sSubscribe: { value: undefined } }) as typeof client, close }
}
