import { createServer } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { expect, test } from 'vitest'
import { drainStreams } from '../../src/index.js'
import { createResume, memoryStore, type ResumeStore } from '../../src/resume/index.js'
import { relayResponse } from '../../src/web/index.js'
import { chatChunk } from '../support/chat.js'
import { listenOn } from '../support/proxy.js'
import { eventStream, wire } from '../support/wire.js'
import { withResolvers } from '../support/with-resolvers.js'
import { chat, closing } from './mounted.js'
import { eventsIn } from './resumable.js'

const post = () => new Request(`http://localhost${chat}`, { method: 'POST' })
const get = (id: string | null, after = 0) =>
  new Request(`http://localhost/v1/streams/${id}?after=${after}`, { headers: { 'x-user': 'ada' } })
const upstreamOf = (text: string) => () => new Response(text, { headers: eventStream })

test('a server that drains begins no replay', async () => {
  const resume = createResume({ owner: false })
  const first = await relayResponse(upstreamOf(wire('Hi', '[DONE]')), undefined, { request: post(), resume })
  await first.text()
  const asked = withResolvers()
  const gate = withResolvers()
  const rejoin = resume.rejoin({
    async streamId() {
      asked.resolve()
      await gate.promise
      return first.headers.get('unhang-stream') ?? undefined
    },
  })
  const node = createServer(getRequestListener((request, bindings) => rejoin(request, bindings)))
  const server = await listenOn(node)
  closing.push(() => server[Symbol.asyncDispose]())
  const again = fetch(`${server.url}/v1/streams/it`)
  await asked.promise
  const drained = drainStreams(node, { graceMs: 60_000 })
  gate.resolve()
  const response = await again
  expect(response.status).toBe(503)
  expect(await response.json()).toMatchObject({ error: { code: 'server_shutting_down' } })
  await drained
})

test('a failure before the first event names its stream, and is not cached', async () => {
  const resume = createResume({ owner: false })
  const refused = () => Response.json({ error: { message: 'Too many.' } }, { status: 429 })
  const first = await relayResponse(refused, undefined, { request: post(), resume })
  const id = first.headers.get('unhang-stream')
  expect(first.status).toBe(429)
  expect(id).toMatch(/./)
  const again = await resume.rejoin()(get(id))
  expect(again.status).toBe(429)
  expect(again.headers.get('unhang-stream')).toBe(id)
  expect(again.headers.get('cache-control')).toBe('no-store')
})

test('events that unhang adds at the end are replayed as well', async () => {
  const resume = createResume({ owner: false })
  const pieces = [chatChunk('Hi'), chatChunk('', 'stop')]
  const upstream = upstreamOf(wire(...pieces.map((each) => JSON.stringify(each))))
  const first = await relayResponse(upstream, undefined, { request: post(), resume })
  const events = eventsIn(await first.text())
  expect(events.at(-1)).toBe('[DONE]')
  const again = await resume.rejoin()(get(first.headers.get('unhang-stream')))
  expect(eventsIn(await again.text())).toEqual(events)
})

test('a store hears that a reader has all of its stream', async () => {
  const store = memoryStore()
  const signals: (AbortSignal | undefined)[] = []
  const watched: ResumeStore = {
    record: (...about) => store.record(...about),
    find: (id) => store.find(id),
    stop: (id, why) => store.stop(id, why),
    follow(id, after, signal) {
      signals.push(signal)
      return store.follow(id, after, signal)
    },
  }
  const resume = createResume({ owner: false, store: watched })
  const first = await relayResponse(upstreamOf(wire('Hi', '[DONE]')), undefined, { request: post(), resume })
  await first.text()
  const again = await resume.rejoin()(get(first.headers.get('unhang-stream')))
  await again.text()
  expect(signals).toHaveLength(1)
  await expect.poll(() => signals[0]?.aborted).toBe(true)
})

test('a refusal may be read by the pages of writer.cors', async () => {
  const origin = 'https://page.test'
  const resume = createResume({ owner: false })
  const rejoin = resume.rejoin({ writer: { cors: [origin] } })
  const ask = (from: string) =>
    rejoin(new Request('http://localhost/v1/streams/none', { headers: { origin: from } }))
  const refused = await ask(origin)
  expect(refused.status).toBe(404)
  expect(refused.headers.get('access-control-allow-origin')).toBe(origin)
  expect((await ask('https://other.test')).headers.has('access-control-allow-origin')).toBe(false)
})
