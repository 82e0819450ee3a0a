import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { redisStore } from '../../../src/resume/redis/store.js'
import {
  chatEvents,
  eventsIn,
  type Produce,
  type Producing,
  type ResumableServer,
  routeMount,
  startResumable,
  user,
} from '../resumable.js'
import { clientNamed } from './clients.js'
import { RedisGate } from './gate.js'
import { about, completed, listening } from './reading.js'
import { RedisServer } from './server.js'

// The next turn of a chat has the id of the one before: its client has read the end of that one.

let redis: RedisServer
beforeAll(async () => {
  redis = await RedisServer.start()
})
afterAll(() => redis.close())

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

const events = chatEvents(12)
let prefixes = 0

/** A process whose streams all have one id. */
async function startProcess(
  port: number,
  prefix: string,
  produce: Produce,
): Promise<ResumableServer & { turn(): Promise<{ status: number; events: string[] }> }> {
  const { client, close } = await clientNamed('ioredis 6')(port)
  closing.push(close)
  const server = await startResumable(routeMount, redisStore(client, { prefix }), produce, {
    streamId: () => 'chat-1',
  })
  closing.push(() => server[Symbol.asyncDispose]())
  const turn = async () => {
    const response = await fetch(`${server.url}/v1/chat/completions`, { method: 'POST', headers: user })
    return { status: response.status, events: eventsIn(await response.text()) }
  }
  return { ...server, turn }
}

async function writeAll({ writer }: Producing, beforeLast = () => {}): Promise<void> {
  for (const [at, event] of events.entries()) {
    if (at === events.length - 1) beforeLast()
    await writer.write(event)
  }
}

async function openGate(port: number): Promise<RedisGate> {
  const gate = await RedisGate.open(port)
  closing.push(() => gate.close())
  return gate
}

/** How often the log of a stream was looked at. */
async function looks(): Promise<number> {
  const stats = await redis.cli('info', 'commandstats')
  return Number(/cmdstat_xrevrange:calls=(\d+)/.exec(stats)?.[1] ?? 0)
}

test.each(['in the same process', 'in another process'])(
  'thirty turns, each %s: none is refused',
  async (where) => {
    const prefix = `turns-${prefixes++}`
    const first = await startProcess(redis.port, prefix, (stream) => writeAll(stream))
    const second = await startProcess(redis.port, prefix, (stream) => writeAll(stream))
    for (let number = 0; number < 30; number++) {
      const server = where === 'in another process' && number % 2 ? second : first
      expect(await server.turn()).toEqual({ status: 200, events })
    }
  },
)

test('the end is still on its way to Redis: the next turn, in another process, waits for it', async () => {
  const prefix = `turns-${prefixes++}`
  const gate = await openGate(redis.port)
  const first = await startProcess(gate.port, prefix, (stream) => writeAll(stream, () => gate.hold()))
  const second = await startProcess(redis.port, prefix, (stream) => writeAll(stream))
  expect(await first.turn()).toEqual({ status: 200, events })
  const before = await looks()
  const next = second.turn()
  await expect.poll(looks, { interval: 5 }).toBeGreaterThan(before)
  gate.letOn()
  expect(await next).toEqual({ status: 200, events })
  await expect.poll(() => second.ends).toMatchObject([{ outcome: 'completed', recorded: true }])
})

test('an end that does not come: the next turn in another process is refused, after a few looks', async () => {
  const prefix = `turns-${prefixes++}`
  const gate = await openGate(redis.port)
  const first = await startProcess(gate.port, prefix, (stream) => writeAll(stream, () => gate.hold()))
  const second = await startProcess(redis.port, prefix, (stream) => writeAll(stream))
  expect((await first.turn()).status).toBe(200)
  const before = await looks()
  expect((await second.turn()).status).toBe(409)
  expect((await looks()) - before).toBeLessThanOrEqual(5)
})

test('Redis is gone when a turn ends: the next one, in the same process, is served', async () => {
  const own = await RedisServer.start()
  closing.push(() => own.close())
  let turns = 0
  const server = await startProcess(own.port, 'gone', async (stream) => {
    if (turns++ === 0) await own.kill()
    await writeAll(stream)
  })
  for (let number = 0; number < 3; number++) expect(await server.turn()).toEqual({ status: 200, events })
})

test('an end that Redis takes late does not set the id free of the next turn', async () => {
  const own = await RedisServer.start()
  closing.push(() => own.close())
  const { client, close } = await clientNamed('ioredis 6')(own.port)
  closing.push(close)
  const store = redisStore(client)
  const begin = () => store.record('chat-1', about(), listening())
  const first = await begin()
  await own.kill()
  const ended = first.end(completed)
  const second = await begin()
  await own.start()
  await ended
  // Without Redis the process itself knows what it is producing.
  await own.kill()
  await expect(begin()).rejects.toThrow(expect.objectContaining({ name: 'StreamIdTaken' }))
  void second.end(completed)
})
