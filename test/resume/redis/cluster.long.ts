import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { redisStore } from '../../../src/resume/redis/store.js'
import { storeContract } from '../store-contract.js'
import { clusterClients, connectTo } from './clients.js'
import { about, completed, event, listening, Reading, upTo } from './reading.js'
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

test.each(['redis 6', 'ioredis 6'])(
  'a node that is killed while streams run, with %s: each comes to its end',
  async (name) => {
    const own = await RedisClusterServer.start()
    onTestFinished(() => own.close())
    const connect = async () => {
      const { client, close } = await connectTo(`a cluster, with ${name}`, own.ports)
      onTestFinished(close)
      return redisStore(client, { flushMs: 25 })
    }
    const [producer, reader] = await Promise.all([connect(), connect()])
    // On every node some.
    const streams = await Promise.all(
      upTo(12).map(async (number) => {
        const id = `node-${number}`
        const events = listening()
        const recorder = await producer.record(id, about(), events)
        return { recorder, events, reading: new Reading(reader, id) }
      }),
    )
    let last = 0
    const producing = setInterval(() => {
      last++
      for (const { recorder } of streams) recorder.append(event(last), 1)
    }, 10)
    onTestFinished(() => clearInterval(producing))
    const least = () => Math.min(...streams.map(({ reading }) => reading.had))
    await expect.poll(least, { timeout: 5_000 }).toBeGreaterThan(20)
    const [node] = own.nodes
    await node?.kill()
    const then = last
    await expect.poll(() => last, { timeout: 5_000 }).toBeGreaterThan(then + 100)
    await node?.start()
    const again = last
    await expect.poll(least, { timeout: 20_000 }).toBeGreaterThan(again)
    clearInterval(producing)
    await Promise.all(streams.map(({ recorder }) => recorder.end(completed)))
    for (const { events, reading } of streams) {
      const { had, end } = await reading.done
      expect({ had, end, heard: events.heard }).toEqual({ had: last, end: completed, heard: [] })
    }
  },
)
