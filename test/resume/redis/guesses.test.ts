import { afterAll, beforeAll } from 'vitest'
import { redisStore } from '../../../src/resume/redis/store.js'
import { guessesContract } from '../guesses-contract.js'
import { clientNamed } from './clients.js'
import { RedisServer } from './server.js'

let server: RedisServer
beforeAll(async () => {
  server = await RedisServer.start()
})
afterAll(() => server.close())

for (const name of ['redis 6', 'ioredis 6']) {
  guessesContract(name, async () => {
    const { client, close } = await clientNamed(name)(server.port)
    const count = async (section: string, field: string) =>
      Number(new RegExp(`${field}:(\\d+)`).exec(await server.cli('info', section))?.[1])
    const prefix = `guesses-${name.replace(' ', '-')}`
    return {
      store: redisStore(client, { prefix }),
      commands: () => count('stats', 'total_commands_processed'),
      state: async () => ({
        keys: await server.cli('keys', `${prefix}:{*`),
        channels: await server.cli('pubsub', 'channels', '*'),
        connections: await count('clients', 'connected_clients'),
      }),
      close,
    }
  })
}
