import { createServer, type RequestListener } from 'node:http'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { handleStream, wrapApp } from '../../../src/index.js'
import { createResume, type Resume } from '../../../src/resume/index.js'
import { redisStore } from '../../../src/resume/redis/store.js'
import { listenOn } from '../../support/proxy.js'
import { withResolvers } from '../../support/with-resolvers.js'
import { chatEvents, eventsIn } from '../resumable.js'
import { RedisServer } from './server.js'

let server: RedisServer
let redis: Redis
let control: Redis
beforeAll(async () => {
  server = await RedisServer.start()
  redis = new Redis(server.port, '127.0.0.1')
  control = new Redis(server.port, '127.0.0.1')
  await Promise.all([redis.ping(), control.ping()])
})
afterAll(async () => {
  redis.disconnect()
  control.disconnect()
  await server.close()
})
afterEach(() => control.call('CLIENT', 'UNPAUSE'))

const events = chatEvents(12)

/** Handlers that send their head at once, and the rest when they are let on. */
function listeners(resume: Resume, begun: () => void, gate: Promise<void>): Record<string, RequestListener> {
  return {
    'a route': (_request, response) =>
      void handleStream(
        response,
        async ({ writer }) => {
          writer.open()
          begun()
          await gate
          for (const event of events) await writer.write(event)
        },
        { resume },
      ),
    'a guarded handler': wrapApp(
      async (_request, response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        response.write(`data: ${events[0]}\n\n`)
        begun()
        await gate
        for (const event of events.slice(1)) response.write(`data: ${event}\n\n`)
        response.end()
      },
      { resume },
    ),
  }
}

for (const mount of ['a route', 'a guarded handler']) {
  test(`${mount}: a client that reads the headers can rejoin at once; the handler does not wait`, async () => {
    const begun = withResolvers()
    const gate = withResolvers()
    const prefix = `head-${mount.length}`
    const resume = createResume({ store: redisStore(redis, { prefix, flushMs: 10 }), owner: false })
    const other = createResume({ store: redisStore(control, { prefix }), owner: false })
    const listener = listeners(resume, begun.resolve, gate.promise)[mount] as RequestListener
    const proxy = await listenOn(createServer(listener))
    let asked = 0
    const rejoin = other.rejoin()
    const reader = await listenOn(
      createServer((request, response) => {
        asked++
        void rejoin(request, response)
      }),
    )
    try {
      const order: string[] = []
      await control.call('CLIENT', 'PAUSE', '5000', 'WRITE')
      const answer = fetch(`${proxy.url}/v1/chat/completions`, { method: 'POST' }).then((response) => {
        order.push('head')
        return response
      })
      await begun.promise
      // As long as a head would take.
      expect((await fetch(`${reader.url}/nobody`)).status).toBe(404)
      order.push('recorded')
      await control.call('CLIENT', 'UNPAUSE')
      const id = (await answer).headers.get('unhang-stream')
      expect(order).toEqual(['recorded', 'head'])
      const rejoining = fetch(`${reader.url}/${id}`)
      await expect.poll(() => asked).toBe(2)
      gate.resolve()
      const rejoined = await rejoining
      expect(rejoined.status).toBe(200)
      expect(eventsIn(await rejoined.text())).toEqual(events)
      expect(eventsIn(await (await answer).text())).toEqual(events)
    } finally {
      await proxy[Symbol.asyncDispose]()
      await reader[Symbol.asyncDispose]()
    }
  })
}
