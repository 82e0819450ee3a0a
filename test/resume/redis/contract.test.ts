import { afterAll, beforeAll } from 'vitest'
import { storeContract } from '../store-contract.js'
import { clients } from './clients.js'
import { RedisServer } from './server.js'
import { openStores } from './stores.js'

let server: RedisServer
beforeAll(async () => {
  server = await RedisServer.start()
})
afterAll(() => server.close())

for (const [name, connect] of Object.entries(clients)) {
  storeContract(name, () => openStores(() => connect(server.port)))
}
