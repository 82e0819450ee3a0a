import type { IncomingMessage, ServerResponse } from 'node:http'
import { expect, test, vi } from 'vitest'
import { wrapApp } from '../../src/index.js'
import { createResume, memoryStore, type ResumeOptions, type ResumeStore } from '../../src/resume/index.js'
import { chatChunk } from '../support/chat.js'
import { listen } from '../support/proxy.js'
import { eventStream, wire } from '../support/wire.js'
import { withResolvers } from '../support/with-resolvers.js'

type Handler = (request: IncomingMessage, response: ServerResponse) => unknown

/** A guarded handler for POST, and its streams for GET. */
async function recorded(handler: Handler, options: Partial<ResumeOptions> = {}) {
  const resume = createResume({ owner: false, ...options })
  const app = wrapApp(handler, { resume })
  const server = await listen((request, response) =>
    request.method === 'GET' ? resume.rejoin()(request, response) : app(request, response),
  )
  return {
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    post: (signal?: AbortSignal) =>
      fetch(`${server.url}/v1/chat/completions`, { method: 'POST', signal: signal ?? null }),
    rejoin: (id: string | null, after = 0) => fetch(`${server.url}/streams/${id}?after=${after}`),
  }
}

const twoEvents = wire(chatChunk('Hel'), chatChunk('lo', 'stop'))

/** Writes all of it in one turn, without `[DONE]`. */
const quick: Handler = (_request, response) => {
  response.writeHead(200, eventStream)
  response.end(twoEvents)
}

test('a stream that ends in its first turn is recorded with its last event', async () => {
  await using server = await recorded(quick)
  const live = await server.post()
  const text = await live.text()
  expect(text).toContain('[DONE]')
  const id = live.headers.get('unhang-stream')
  const rejoined = await server.rejoin(id)
  expect(await rejoined.text()).toBe(text)
  const nothingLeft = await server.rejoin(id, text.split('\n\n').length - 1)
  expect(nothingLeft.status).not.toBe(400)
  await nothingLeft.text()
})

test('a follower that has read to the end is let go', async () => {
  const store = memoryStore()
  let following = 0
  const counted: ResumeStore = {
    record: (...about) => store.record(...about),
    find: (id) => store.find(id),
    stop: (id, why) => store.stop(id, why),
    async *follow(...from) {
      following++
      try {
        yield* store.follow(...from)
      } finally {
        following--
      }
    },
  }
  await using server = await recorded(quick, { store: counted })
  const live = await server.post()
  await live.text()
  const rejoined = await server.rejoin(live.headers.get('unhang-stream'))
  expect(await rejoined.text()).toContain('[DONE]')
  await vi.waitFor(() => expect(following).toBe(0))
})

test('a response emits close once, when its client has not come back in time', async () => {
  const closed = vi.fn()
  const first = withResolvers()
  await using server = await recorded(
    (_request, response) => {
      response.on('close', () => {
        closed()
        first.resolve()
      })
      response.writeHead(200, eventStream).write(twoEvents)
    },
    { detachMs: 50 },
  )
  const client = new AbortController()
  const live = await server.post(client.signal)
  await live.body?.getReader().read()
  client.abort()
  await first.promise
  // What is emitted for the same reason comes in the turns after it.
  for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate)
  expect(closed).toHaveBeenCalledTimes(1)
})

test('an owner that is a promise is refused, and its rejection ends nothing', async () => {
  const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  const owner = (async () => {
    throw new Error('token expired')
  }) as unknown as () => string
  await using server = await recorded(quick, { owner })
  const live = await server.post()
  expect(live.status).toBe(200)
  expect(live.headers.get('unhang-stream')).toBeNull()
  expect(await live.text()).toContain('[DONE]')
  expect(JSON.stringify(warned.mock.calls)).toContain('it returned a promise')
  warned.mockRestore()
})

test.each([
  ['application/json-seq', '\x1e{"text":"Hel"}\n', '\x1e{"text":"lo"}\n'],
  ['application/x-ndjson', '\n\n{"text":"Hel"}\n', '\n{"text":"lo"}\n'],
  ['application/x-ndjson', '["Hel"]\n', '["lo"]\n'],
  ['text/event-stream', ': hi\n\ndata: {"text":"Hel"}\n\n', 'data: {"text":"lo"}\n\n'],
  ['text/event-stream', '\n\ndata: {"text":"Hel"}\n\n', 'data: {"text":"lo"}\n\n'],
])('a stream of %s that begins with %j is replayed as it was', async (type, first, second) => {
  await using server = await recorded((_request, response) => {
    response.writeHead(200, { 'content-type': type })
    response.write(first)
    response.end(second)
  })
  const live = await server.post()
  const text = await live.text()
  const id = live.headers.get('unhang-stream')
  const whole = await server.rejoin(id)
  const isLines = type !== 'text/event-stream'
  expect(whole.headers.get('content-type')).toMatch(isLines ? /x-ndjson/ : /event-stream/)
  const dataOf = (body: string) => body.match(/\{.*\}|\[".*"\]/g)
  expect(dataOf(await whole.text())).toEqual(dataOf(text))
  const rest = await server.rejoin(id, 1)
  expect(dataOf(await rest.text())).toEqual(dataOf(text)?.slice(1))
})
