import type { RequestListener, ServerResponse } from 'node:http'
import Koa from 'koa'
import { describe, expect, test } from 'vitest'
import { createStreamMiddleware, guardStreams, wrapApp } from '../../src/adapters/express.js'
import {
  createStreamMiddleware as createKoaMiddleware,
  guardStreams as guardKoa,
  wrapApp as wrapKoa,
} from '../../src/adapters/koa.js'
import { handleStream, type StreamEnd, wrapApp as wrapListener } from '../../src/index.js'
import { chatChunk } from '../support/chat.js'
import { expressVersions } from '../support/express-versions.js'
import { listen } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { eventStream, wire } from '../support/wire.js'

const path = '/v1/chat/completions'

/** The response that a client of a stream gets, and the stream's record. */
async function ask(app: RequestListener) {
  await using server = await listen(app)
  using client = await rawRequest({ port: server.port, path, body: { stream: true } }).finished()
  return client
}

function recorded() {
  const ends: StreamEnd[] = []
  const onEnd = (end: StreamEnd) => void ends.push(end)
  return { ends, onEnd }
}

describe.each(expressVersions)(
  '%s: the options of a guard are the defaults of what stands inside it',
  (_name, express) => {
    test('a route without options of its own', async () => {
      const { ends, onEnd } = recorded()
      const app = express().use(
        guardStreams({ onEnd, timeouts: { firstByteMs: 50 }, writer: { headers: false } }),
      )
      app.post(
        path,
        createStreamMiddleware(() => new Promise(() => {})),
      )
      const client = await ask(app as never)
      expect(client.status).toBe(504)
      expect(client.header('x-request-id')).toBeUndefined()
      expect(ends).toMatchObject([{ outcome: 'timeout', phase: 'firstByte' }])
    })

    test('a route’s own options go first, timeout by timeout', async () => {
      const { ends, onEnd } = recorded()
      const app = express().use(guardStreams({ onEnd, timeouts: { firstByteMs: 5_000, totalMs: 9_000 } }))
      // Shorter than the guard's `firstByteMs`: two values of different owners do not contradict each other.
      app.post(
        path,
        createStreamMiddleware(() => new Promise(() => {}), { timeouts: { totalMs: 50 } }),
      )
      expect((await ask(app as never)).status).toBe(504)
      expect(ends).toMatchObject([{ outcome: 'timeout', reason: { timeoutMs: 50 } }])
    })

    test('a guard inside another one adds its options', async () => {
      const { ends, onEnd } = recorded()
      const app = express().use(guardStreams({ onEnd, timeouts: false }))
      app.use(guardStreams({ timeouts: { firstByteMs: 50 }, exposeUpstreamErrors: true }))
      app.post(path, () => {})
      expect((await ask(wrapApp(app as never))).status).toBe(504)
      expect(ends).toMatchObject([{ outcome: 'timeout', phase: 'firstByte' }])
    })

    test('a guard inside another one that switches the headers off, or its requests', async () => {
      const stream = (_request: unknown, response: ServerResponse) =>
        void response.writeHead(200, eventStream).end(wire(chatChunk('Hi'), '[DONE]'))
      const plain = express().use(guardStreams(), guardStreams({ writer: { headers: false } }))
      plain.post(path, stream as never)
      expect((await ask(plain as never)).header('cache-control')).toBeUndefined()
      const skipped = express().use(guardStreams(), guardStreams({ skip: () => true }))
      skipped.post(
        path,
        ((_request: unknown, response: ServerResponse) =>
          void response.writeHead(200, eventStream).end(wire(chatChunk('Hi')))) as never,
      )
      expect((await ask(skipped as never)).bodyText).toBe(wire(chatChunk('Hi')))
    })
  },
)

test('handleStream behind wrapApp', async () => {
  const { ends, onEnd } = recorded()
  const app = wrapListener(
    (_request, response) => void handleStream(response, () => new Promise(() => {}), { model: 'mine' }),
    { onEnd, timeouts: ({ url }) => (url === path ? { firstByteMs: 50 } : false) },
  )
  expect((await ask(app)).status).toBe(504)
  expect(ends).toMatchObject([{ outcome: 'timeout', phase: 'firstByte', model: 'mine' }])
})

test.each(['route', 'handler'])('three levels: a %s has the timeouts of each', async (kind) => {
  const { ends, onEnd } = recorded()
  const [, express] = expressVersions[0] as (typeof expressVersions)[0]
  const app = express().use(guardStreams({ onEnd, timeouts: { totalMs: 50 } }))
  app.use(guardStreams({ timeouts: { inactivityMs: 40_000 } }), guardStreams({ exposeUpstreamErrors: true }))
  const handler = kind === 'route' ? createStreamMiddleware(() => new Promise(() => {})) : () => {}
  app.post(path, handler as never)
  expect((await ask(wrapApp(app as never))).status).toBe(504)
  expect(ends).toMatchObject([{ outcome: 'timeout', reason: { timeoutMs: 50 } }])
})

test('behind two guards, too, a response that turns out to be no stream keeps its headers', async () => {
  const [, express] = expressVersions[0] as (typeof expressVersions)[0]
  const app = express()
  app.use((_request: unknown, response: ServerResponse, next: () => void) => {
    response.setHeader('Content-Type', 'text/event-stream')
    next()
  })
  app.use(guardStreams(), guardStreams({ timeouts: 'advanced' }))
  app.post(
    path,
    ((_request: unknown, response: ServerResponse) =>
      void response.setHeader('Content-Type', 'text/plain').end('hello')) as never,
  )
  const client = await ask(app as never)
  expect(client.bodyText).toBe('hello')
  expect(client.header('cache-control')).toBeUndefined()
})

test('Koa: routes and guards', async () => {
  const { ends, onEnd } = recorded()
  const app = new Koa()
  app.use(guardKoa({ timeouts: { firstByteMs: 50 } }))
  app.use(createKoaMiddleware(() => new Promise(() => {}), { dialect: 'anthropic' }))
  const client = await ask(wrapKoa(app, { onEnd }))
  expect(client.json).toMatchObject({ type: 'error', error: { type: 'timeout_error' } })
  expect(ends).toMatchObject([{ outcome: 'timeout', phase: 'firstByte' }])
})
