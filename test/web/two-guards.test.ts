import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { describe, expect, test } from 'vitest'
import { guardStreams, wrapApp as wrapHono } from '../../src/adapters/hono.js'
import { channels, type StreamEnd, type StreamTimeouts, wrapApp as wrapNode } from '../../src/index.js'
import {
  getSignal,
  getStream,
  guardResponse,
  relayResponse,
  type WebGuardOptions,
  wrapApp,
} from '../../src/web/index.js'
import { chatAnswer, chatChunk, failureOf } from '../support/chat.js'
import { listen } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { type Script, startUpstream } from '../support/scripted-upstream.js'
import { eventStream, wire } from '../support/wire.js'

const path = '/v1/chat/completions'
type Handler = () => Response | Promise<Response>
/** As a server calls it, with its bindings. */
type Fetch = Parameters<typeof getRequestListener>[0]
type Options = Pick<WebGuardOptions, 'onEnd'> & { skip?: () => boolean; timeouts?: StreamTimeouts }

const hono = (handler: Handler) => new Hono().post(path, handler)
const guards: Record<string, (handler: Handler, options?: Options) => Fetch> = {
  'unhang/web, wrapApp': (handler, options) => wrapApp(handler, options) as Fetch,
  'unhang/hono, wrapApp': (handler, options) => wrapHono(hono(handler) as never, options) as Fetch,
  'unhang/hono, guardStreams': (handler, options) =>
    new Hono().use(guardStreams(options)).post(path, handler).fetch as Fetch,
}

function recorded() {
  const ends: StreamEnd[] = []
  let wake = () => {}
  const onEnd = (end: StreamEnd) => {
    ends.push(end)
    wake()
    return true
  }
  const until = async (count: number) => {
    while (ends.length < count) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
    // A record that would come in these turns would come too often.
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
    return ends
  }
  return { onEnd, until }
}

describe.each(Object.entries(guards))('%s, under a guard of node:http', (_name, guard) => {
  test('there is one guard: a start and a record for each stream', async () => {
    const good: Script = (exchange) =>
      exchange
        .open()
        .data(...chatAnswer('Hello'))
        .end()
    await using upstream = await startUpstream(good)
    const { onEnd, until } = recorded()
    const started: unknown[] = []
    const hear = (message: unknown) => started.push(message)
    channels.start.subscribe(hear)
    const inner = guard(() => fetch(upstream.url, { method: 'POST' }), { onEnd })
    await using server = await listen(wrapNode(getRequestListener(inner), { onEnd }))
    for (const stream of ['one', 'two']) {
      const headers = { 'x-request-id': stream }
      using client = await rawRequest({ port: server.port, headers, body: { stream: true } }).finished()
      expect(client.data.at(-1)).toBe('[DONE]')
    }
    const ends = await until(2)
    channels.start.unsubscribe(hear)
    expect(started).toMatchObject([{ requestId: 'one' }, { requestId: 'two' }])
    expect(ends).toMatchObject([{ outcome: 'completed' }, { outcome: 'completed' }])
  })

  test('the options of the outer are defaults: its deadline passes, and is recorded once', async () => {
    await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hello')))
    const { onEnd, until } = recorded()
    const inner = guard(() => fetch(upstream.url, { method: 'POST' }))
    const options = { onEnd, timeouts: { inactivityMs: 50 }, writer: { headers: { 'x-by': 'the outer' } } }
    await using server = await listen(wrapNode(getRequestListener(inner), options))
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(failureOf(client.data).code).toBe('upstream_inactivity_timeout')
    expect(client.header('x-by')).toBe('the outer')
    expect(await until(1)).toMatchObject([{ outcome: 'timeout', phase: 'inactivity' }])
  })

  test('its own options go first', async () => {
    const { onEnd, until } = recorded()
    const inner = guard(() => new Promise(() => {}), { timeouts: { firstByteMs: 50 }, onEnd })
    const outer = { timeouts: { firstByteMs: 60_000 }, onEnd: () => expect.unreachable('the outer records') }
    await using server = await listen(wrapNode(getRequestListener(inner), outer))
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(client.status).toBe(504)
    expect(await until(1)).toMatchObject([{ outcome: 'timeout', reason: { timeoutMs: 50 } }])
  })

  test('a request that it skips is guarded by neither', async () => {
    const stream = () => new Response(wire(chatChunk('Hi')), { headers: eventStream })
    const inner = guard(stream, { skip: () => true })
    await using server = await listen(wrapNode(getRequestListener(inner)))
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(client.bodyText).toBe(wire(chatChunk('Hi')))
    expect(client.header('x-accel-buffering')).toBeUndefined()
  })
})

test.each(Object.entries(guards))(
  '%s, in a guard of fetch handlers: a request that it skips is guarded by neither',
  async (_name, guard) => {
    const stream = () => new Response(wire(chatChunk('Hi')), { headers: eventStream })
    const inner = guard(stream, { skip: () => true })
    await using server = await listen(getRequestListener(wrapApp(inner as never) as Fetch))
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(client.status).toBe(200)
    expect(client.bodyText).toBe(wire(chatChunk('Hi')))
    expect(client.header('x-accel-buffering')).toBeUndefined()
  },
)

type Make = (request: Request, url: string) => Promise<Response>
const made: Record<string, Make> = {
  guardResponse: async (request, url) =>
    guardResponse(await fetch(url, { method: 'POST', signal: getSignal(request) }), { request }),
  relayResponse: (request, url) =>
    relayResponse(({ signal }) => fetch(url, { method: 'POST', signal }), undefined, { request }),
}
const around: Record<string, (make: Make, url: string, options: Options) => Fetch> = {
  'unhang/web, wrapApp': (make, url, options) =>
    wrapApp((request: Request) => make(request, url), options) as Fetch,
  'unhang/hono, guardStreams': (make, url, options) =>
    new Hono().use(guardStreams(options)).post('*', ({ req }) => make(req.raw, url)).fetch as Fetch,
}

describe.each(Object.entries(made))('%s', (_name, make) => {
  describe.each(Object.entries(around))('in %s, under a guard of node:http', (_outer, guard) => {
    // The second path says nothing of a stream.
    test.each([path, '/ask'])(
      'there is one guard, and the options of the others are defaults: %s',
      async (url) => {
        await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hello')))
        const { onEnd, until } = recorded()
        const started: unknown[] = []
        const hear = (message: unknown) => started.push(message)
        channels.start.subscribe(hear)
        const app = guard(make, upstream.url, { timeouts: { inactivityMs: 50 } })
        await using server = await listen(wrapNode(getRequestListener(app), { onEnd }))
        using client = await rawRequest({ port: server.port, path: url, body: { stream: true } }).finished()
        expect(failureOf(client.data).code).toBe('upstream_inactivity_timeout')
        expect(await until(1)).toMatchObject([{ outcome: 'timeout', reason: { timeoutMs: 50 } }])
        channels.start.unsubscribe(hear)
        expect(started).toHaveLength(1)
      },
    )
  })
})

test('relayResponse in a guard of fetch handlers: its own options go first', async () => {
  const { onEnd, until } = recorded()
  const outer = { timeouts: { firstByteMs: 60_000 }, onEnd: () => expect.unreachable('the outer records') }
  const app = wrapApp(
    (request: Request) =>
      relayResponse(() => new Promise(() => {}), undefined, {
        request,
        timeouts: { firstByteMs: 50 },
        onEnd,
      }),
    outer,
  )
  await using server = await listen(getRequestListener(app as Fetch))
  using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
  expect(client.status).toBe(504)
  expect(await until(1)).toMatchObject([{ outcome: 'timeout', reason: { timeoutMs: 50 } }])
})

test.each(Object.entries(made))('%s has the id of the guard around it', async (_name, make) => {
  await using upstream = await startUpstream((exchange) =>
    exchange
      .open()
      .data(...chatAnswer('Hello'))
      .end(),
  )
  let id: string | undefined
  const app = wrapApp((request: Request) => {
    id = getStream(request)?.requestId
    return make(request, upstream.url)
  })
  await using server = await listen(getRequestListener(app as Fetch))
  using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
  expect(client.header('x-request-id')).toBe(id)
})
