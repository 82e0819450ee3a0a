import { EventEmitter, on } from 'node:events'
import type { ServerResponse } from 'node:http'
import express, { type Handler } from 'express'
import { expect, test } from 'vitest'
import { guardStreams } from '../../src/adapters/express.js'
import type { GuardOptions } from '../../src/index.js'
import { chatAnswer, chatChunk, textOf } from '../support/chat.js'
import { guarded } from '../support/guarded.js'
import { listen } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'
import { eventStream } from '../support/wire.js'

type Chunk = Uint8Array
const cancel = { adopt: { onDisconnect: 'cancel' } } as const
const post = { method: 'POST', body: '{}' }
const begin = (response: ServerResponse) => response.writeHead(200, eventStream)

// Stays the first one of this file: the process has had no POST so far.
test('a GET that came before the first POST of the process is a guest of its upstream', async () => {
  await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')))
  const emitter = new EventEmitter()
  await using server = await guarded(async (request, response) => {
    begin(response)
    if (request.method === 'GET') {
      const chunks = on(emitter, 'chunk', { close: ['end'] })
      response.write(': here\n\n')
      for await (const [chunk] of chunks) response.write(chunk)
      return response.end()
    }
    for await (const chunk of (await fetch(upstream.url, post)).body as AsyncIterable<Chunk>) {
      response.write(chunk)
      emitter.emit('chunk', chunk)
    }
    emitter.emit('end')
  }, cancel)
  using page = await rawRequest({ port: server.port, method: 'GET', path: '/answers' }).received('here')
  using first = await rawRequest({ port: server.port, body: { stream: true } }).received('Hel')
  await page.received('Hel')
  first.reset()
  await expect.poll(() => server.ends).toHaveLength(1)
  const exchange = await upstream.exchange(0)
  exchange.data(...chatAnswer('lo')).end()
  await page.finished()
  expect(textOf(page.data)).toBe('Hello')
})

test.each<[string, GuardOptions]>([
  ['false', { adopt: false }],
  ['a function that says false', { adopt: () => false }],
])('a route whose own guard has adopt: %s is a guest as well', async (_what, inner) => {
  await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')))
  let body: Promise<ReadableStream<Chunk>> | undefined
  const follow: Handler = async (_request, response) => {
    begin(response)
    body ??= fetch(upstream.url, post).then(({ body }) => body as ReadableStream<Chunk>)
    const [rest, own] = (await body).tee()
    body = Promise.resolve(rest)
    for await (const chunk of own as unknown as AsyncIterable<Chunk>) response.write(chunk)
    response.end()
  }
  const outcomes: string[] = []
  const onEnd = ({ outcome }: { outcome: string }) => outcomes.push(outcome) > 0
  const app = express().use(guardStreams({ ...cancel, onEnd }))
  app.post('/chat', follow)
  app.post('/join', guardStreams(inner), follow)
  await using server = await listen(app as never)
  using first = await rawRequest({ port: server.port, path: '/chat', body: { stream: true } }).received('Hel')
  const exchange = await upstream.exchange(0)
  using second = rawRequest({ port: server.port, path: '/join', body: { stream: true } })
  await second.received('event-stream')
  exchange.data(chatChunk('lo'))
  await second.received('lo')
  first.reset()
  await expect.poll(() => outcomes).toEqual(['client_gone'])
  exchange.data(...chatAnswer(' you')).end()
  await second.finished()
  expect(second.bodyText).not.toContain('"error"')
  expect(textOf(second.data)).toMatch(/lo you$/)
  await expect.poll(() => outcomes).toEqual(['client_gone', 'completed'])
  // A guest that has left holds nothing back.
  body = undefined
  using third = await rawRequest({ port: server.port, path: '/chat', body: { stream: true } }).received('Hel')
  third.reset()
  await (await upstream.exchange(1)).closed
})

test('a client that has left is waited for until the route that joined it is over, whenever its own guard opts out', async () => {
  await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')))
  const emitter = new EventEmitter()
  const joins = new EventEmitter()
  const outcomes: string[] = []
  const onEnd = ({ outcome }: { outcome: string }) => outcomes.push(outcome) > 0
  const app = express().use(guardStreams({ ...cancel, onEnd }))
  app.post('/chat', async (_request, response) => {
    begin(response)
    for await (const chunk of (await fetch(upstream.url, post)).body as AsyncIterable<Chunk>) {
      response.write(chunk)
      emitter.emit('chunk', chunk)
    }
    emitter.emit('end')
  })
  // It waits, as a session store does, before its own guard comes.
  app.post('/join', (_request, _response, next) => void joins.once('go', () => next()).emit('waiting'))
  app.post('/join', guardStreams({ adopt: false }), async (_request, response) => {
    begin(response).write(': here\n\n')
    for await (const [chunk] of on(emitter, 'chunk', { close: ['end'] })) response.write(chunk)
    response.end()
  })
  await using server = await listen(app as never)
  const waits = new Promise((resolve) => joins.once('waiting', resolve))
  using first = await rawRequest({ port: server.port, path: '/chat', body: { stream: true } }).received('Hel')
  using second = rawRequest({ port: server.port, path: '/join', body: { stream: true } })
  await waits
  first.reset()
  await expect.poll(() => outcomes).toEqual(['client_gone'])
  joins.emit('go')
  await second.received('here')
  const exchange = await upstream.exchange(0)
  exchange.data(...chatAnswer('lo')).end()
  await second.finished()
  expect(textOf(second.data)).toBe('lo')
  expect(second.bodyText).not.toContain('"error"')
})
