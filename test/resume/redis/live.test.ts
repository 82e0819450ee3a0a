import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, describe, expect, test } from 'vitest'
import { redisStore } from '../../../src/resume/redis/store.js'
import type { Recorder, ResumeStore } from '../../../src/resume/resume-store.js'
import { withResolvers } from '../../support/with-resolvers.js'
import { chatEvents, eventsIn, routeMount, startResumable, user } from '../resumable.js'
import { clientNamed } from './clients.js'
import { RedisServer } from './server.js'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

const events = chatEvents(60)
const third = events.length / 3

/** Records, and says which recorders something still holds. */
function watched(store: ResumeStore) {
  const recorders: WeakRef<Recorder>[] = []
  const watching: ResumeStore = {
    find: (id) => store.find(id),
    follow: (id, after, signal) => store.follow(id, after, signal),
    stop: (id, why) => store.stop(id, why),
    async record(id, about, heard) {
      const recorder = await store.record(id, about, heard)
      recorders.push(new WeakRef(recorder))
      return recorder
    },
  }
  const held = () => {
    collect()
    return recorders.filter((each) => each.deref()).length
  }
  return { watching, held }
}

/** A stream that stops after a third of its events, and after two, until it is let on. */
async function start(name: string, options: readonly string[] = []) {
  const redis = await RedisServer.start(options)
  closing.push(() => redis.close())
  const { client, close } = await clientNamed(name)(redis.port)
  closing.push(close)
  const gates = [withResolvers(), withResolvers()]
  const { watching, held } = watched(redisStore(client, { flushMs: 10 }))
  const server = await startResumable(routeMount, watching, async ({ writer }) => {
    for (const [at, event] of events.entries()) {
      if (at > 0 && at % third === 0) await gates[at / third - 1]?.promise
      await writer.write(event)
    }
  })
  closing.push(() => server[Symbol.asyncDispose]())
  const response = await fetch(`${server.url}/v1/chat/completions`, { method: 'POST', headers: user })
  const id = response.headers.get('unhang-stream') as string
  await expect.poll(async () => (await server.resume.find(id))?.last).toBe(third)
  let body = ''
  const read = async () => {
    const decoder = new TextDecoder()
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>)
      body += decoder.decode(chunk, { stream: true })
  }
  const whole = read()
  const had = (count: number) => expect.poll(() => eventsIn(body).length).toBe(count)
  await had(third)
  return {
    redis,
    server,
    held,
    id,
    /** Lets it on, and waits until its client has the next third. */
    async next(part: 1 | 2) {
      gates[part - 1]?.resolve()
      if (part === 1) await had(2 * third)
    },
    async rest() {
      await whole
      return eventsIn(body)
    },
    rejoin: (after: number) => fetch(`${server.url}/v1/streams/${id}?after=${after}`, { headers: user }),
  }
}

/** Redis is away for the second third of the stream. */
async function comesBack(stream: Awaited<ReturnType<typeof start>>, recorded: boolean): Promise<void> {
  const { redis, server, id } = stream
  await redis.kill()
  await stream.next(1)
  await redis.start()
  await expect.poll(async () => (await server.resume.find(id))?.last, { timeout: 10_000 }).toBe(2 * third)
  await stream.next(2)
  expect(await stream.rest()).toEqual(events)
  await expect.poll(() => server.ends).toMatchObject([{ outcome: 'completed', recorded }])
}

describe.each(['redis 6', 'ioredis 6'])(
  'a live stream over %s, whose Redis goes away in the middle',
  (name) => {
    test('and comes back with its data: all of it is recorded', async () => {
      const stream = await start(name, ['--appendonly', 'yes', '--appendfsync', 'always'])
      await comesBack(stream, true)
      expect(eventsIn(await (await stream.rejoin(5)).text())).toEqual(events.slice(5))
      await expect.poll(stream.held).toBe(0)
    })

    test('and comes back empty: the beginning is lost, and the record says so', async () => {
      const stream = await start(name)
      await comesBack(stream, false)
      const gap = await stream.rejoin(5)
      expect(gap.status).toBe(410)
      const { first } = (await gap.json()) as { first: number }
      expect(eventsIn(await (await stream.rejoin(first - 1)).text())).toEqual(events.slice(first - 1))
      await expect.poll(stream.held).toBe(0)
      const keys = (await stream.redis.cli('keys', `*${stream.id}*`)).split('\n')
      for (const key of keys) expect(Number(await stream.redis.cli('pttl', key))).toBeGreaterThan(0)
    })

    test.each(['SIGKILL', 'SIGSTOP'] as const)(
      'and does not come back (%s): it is not recorded',
      async (signal) => {
        const stream = await start(name)
        await stream.redis.kill(signal)
        await stream.next(1)
        await stream.next(2)
        expect(await stream.rest()).toEqual(events)
        await expect
          .poll(() => stream.server.ends, { timeout: 5_000 })
          .toMatchObject([{ outcome: 'completed', recorded: false }])
        // While Redis stands still, ioredis itself keeps what was sent, and sends it again twenty times.
        if (signal === 'SIGKILL') await expect.poll(stream.held, { timeout: 15_000 }).toBe(0)
      },
    )
  },
)
