import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  createSSEWriter,
  handleStream,
  openUpstream,
  readAnswer,
  readEventStream,
  TimeoutCoordinator,
} from '../../src/index.js'
import { chatAnswer, chatChunk } from '../support/chat.js'
import { listen, startProxy } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'

/** More than the ten that Node 20 thinks are enough. */
const many = 15

const warnings: Error[] = []
const keep = (warning: Error) => void warnings.push(warning)
beforeEach(() => void process.on('warning', keep))
afterEach(async () => {
  // Node emits a warning one tick after its cause.
  await new Promise((resolve) => setImmediate(resolve))
  process.off('warning', keep)
  expect(warnings.map(({ name }) => name)).toEqual([])
})

const all = <Result>(make: (at: number) => Promise<Result>) =>
  Promise.all(Array.from({ length: many }, (_, at) => make(at)))

test('one signal of an app, for many streams and writers at a time', async () => {
  const app = new AbortController()
  await using server = await listen((request, response) => {
    if (request.url === '/writer') {
      void createSSEWriter(response, { signal: app.signal }).write('begun')
      app.signal.addEventListener('abort', () => response.end())
    } else {
      void handleStream(
        response,
        async ({ writer, signal }) => {
          await writer.write('begun')
          await once(signal, 'abort')
        },
        { signal: app.signal },
      )
    }
  })
  const clients = await all((at) => {
    const path = at % 2 === 0 ? '/writer' : '/stream'
    return rawRequest({ port: server.port, path, body: { stream: true } }).received('begun')
  })
  app.abort()
  for (const client of clients) await client.finished()
  for (const client of clients) client[Symbol.dispose]()
})

test('one signal for many upstreams that are read', async () => {
  const app = new AbortController()
  await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hi')))
  const { signal } = app
  let reading = 0
  const failures = all(async (at) => {
    const answer = await openUpstream((call) => fetch(upstream.url, call), { signal })
    const onChunk = () => void (++reading === many && app.abort())
    if (at % 2 === 0) for await (const _ of readEventStream(answer, { signal, onChunk }));
    else await readAnswer(answer, { signal, onChunk })
  }).catch((error) => error)
  expect(await failures).toMatchObject({ name: 'AbortError' })
})

test('one signal for many clocks', () => {
  const { signal } = new AbortController()
  const clocks = Array.from({ length: many }, () => new TimeoutCoordinator({}, { signal }))
  for (const clock of clocks) clock.settle()
  expect(clocks.every(({ settled }) => settled)).toBe(true)
})

test('the signal of one stream, for many calls of its handler', async () => {
  await using upstream = await startUpstream((exchange) =>
    exchange
      .open()
      .data(...chatAnswer('Hi'))
      .end(),
  )
  await using proxy = await startProxy(async ({ writer, signal }) => {
    await all(async () => {
      const [answer] = await once(httpRequest(upstream.url, { signal }).end(), 'response')
      for await (const _ of answer);
    })
    writer.close({ data: 'done' })
  })
  using client = await rawRequest({ port: proxy.port, path: '/events' }).finished()
  expect(client.data).toEqual(['done'])
})
