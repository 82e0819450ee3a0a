import { afterEach, expect, test } from 'vitest'
import { redisStore } from '../../../src/resume/redis/store.js'
import { withResolvers } from '../../support/with-resolvers.js'
import { readSome, routeMount, startResumable, user } from '../resumable.js'
import { clientNamed } from './clients.js'
import { about, completed, event, listening, Reading } from './reading.js'
import { RedisServer } from './server.js'

// Whatever becomes of its events, the end of a stream comes to its readers: they would wait for it.

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

async function open(options: readonly string[] = []) {
  const server = await RedisServer.start(options)
  closing.push(() => server.close())
  const connect = async () => {
    const { client, close } = await clientNamed('redis 6')(server.port)
    closing.push(close)
    return redisStore(client, { flushMs: 10 })
  }
  return { server, connect, store: await connect() }
}

test('a single event that is too large for Redis, then the end: a gap, and the end', async () => {
  const { store } = await open()
  const recorder = await store.record('image', about(), listening())
  recorder.append(`data: ${'x'.repeat(1_100_000)}\n\n`, 1)
  recorder.append('data: [DONE]\n\n', 1)
  await recorder.end(completed)
  expect(recorder.complete).toBe(false)
  expect(await store.find('image')).toMatchObject({ end: completed })
  const { gaps, end } = await new Reading(store, 'image').done
  expect({ gaps, end }).toEqual({ gaps: [[1, 2]], end: completed })
})

test('an EventSource that has what was recorded hears of what was not', async () => {
  const { store } = await open()
  const recorded = withResolvers()
  await using server = await startResumable(routeMount, store, async ({ writer }) => {
    for (const data of ['one', 'two']) await writer.write(data)
    await recorded.promise
    await writer.write('x'.repeat(1_100_000))
    await writer.write('[DONE]')
  })
  const { response } = await readSome(server.url, { method: 'POST', headers: user }, 2)
  const id = response.headers.get('unhang-stream') as string
  await expect.poll(async () => (await server.resume.find(id))?.last).toBe(2)
  recorded.resolve()
  await expect.poll(async () => (await server.resume.find(id))?.end).toEqual(completed)
  expect(await server.resume.find(id)).toMatchObject({ first: 1, last: 4 })
  const rejoin = (after: number) => {
    const headers = { ...user, accept: 'text/event-stream', 'last-event-id': String(after) }
    return fetch(`${server.url}/v1/streams/${id}`, { headers })
  }
  const rejoined = await rejoin(2)
  expect(rejoined.status).toBe(200)
  expect(await rejoined.text()).toContain('Events 3 to 4 are no longer there.')
  expect((await rejoin(4)).status).toBe(204)
})

test('Redis is gone for longer than an end waits, and comes back: the end is there then', async () => {
  const { server, store, connect } = await open(['--appendonly', 'yes', '--appendfsync', 'always'])
  const recorder = await store.record('chat-1', about({ ttlMs: 30_000 }), listening())
  recorder.append(event(1), 1)
  await expect.poll(async () => (await store.find('chat-1'))?.last).toBe(1)
  await server.kill()
  recorder.append(event(2), 1)
  await recorder.end(completed)
  expect(recorder.complete).toBe(false)
  await server.start()
  const other = await connect()
  const reading = new Reading(other, 'chat-1')
  await expect.poll(async () => (await other.find('chat-1'))?.end, { timeout: 10_000 }).toEqual(completed)
  // Whether the second event was on its way is the client's business.
  const { had, end } = await reading.done
  expect({ had, end }).toEqual({ had: 2, end: completed })
  await expect
    .poll(async () => Number(await server.cli('pttl', 'unhang:{chat-1}:m')))
    .toBeLessThanOrEqual(30_000)
  // The id is free for the next turn.
  const next = await other.record('chat-1', about(), listening())
  await next.end(completed)
})

test('an end that comes late is not written over the stream that has its id now', async () => {
  const { server, store, connect } = await open()
  const heard = listening()
  const recorder = await store.record('chat-1', about({ ttlMs: 30_000 }), heard)
  recorder.append(event(1), 1)
  await server.kill()
  await recorder.end(completed)
  // It comes back empty.
  await server.start()
  const other = await connect()
  const next = await other.record('chat-1', about(), listening())
  next.append(event(1), 1)
  await expect.poll(async () => (await store.find('chat-1'))?.last, { timeout: 10_000 }).toBe(1)
  expect((await store.find('chat-1'))?.end).toBeUndefined()
  expect(Number(await server.cli('pttl', 'unhang:{chat-1}:m'))).toBeGreaterThan(500_000)
  await next.end(completed)
  expect((await new Reading(store, 'chat-1').done).end).toEqual(completed)
})
