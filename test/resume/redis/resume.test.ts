import { afterAll, beforeAll } from 'vitest'
import { resumingClients } from '../clients-contract.js'
import { resumeContract } from '../resume-contract.js'
import { clientNamed } from './clients.js'
import { RedisServer } from './server.js'
import { openStores } from './stores.js'

let server: RedisServer
beforeAll(async () => {
  server = await RedisServer.start()
})
afterAll(() => server.close())

for (const name of ['redis 6', 'ioredis 6']) {
  const open = () => openStores(() => clientNamed(name)(server.port))
  resumeContract(name, open)
  resumingClients(name, open)
}
