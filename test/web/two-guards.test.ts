import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { describe, expect, test } from 'vitest'
import { guardStreams, wrapApp as wrapHono } from '../../src/adapters/hono.js'
import { channels, type StreamEnd, type StreamTimeouts, wrapApp as wrapNode } from '../../src/index.js'
import { type WebGuardOptions, wrapApp } from '../../src/web/index.js'
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

test.each<[string, (handler: Handler) => Fetch]>([
  [
    'unhang/web, wrapApp',
    (handler) => wrapApp(guards['unhang/web, wrapApp']?.(handler, { skip: () => true }) as never) as Fetch,
  ],
  [
    'unhang/hono, guardStreams',
    (handler) =>
      wrapApp(guards['unhang/hono, guardStreams']?.(handler, { skip: () => true }) as never) as Fetch,
  ],
])('%s, in a guard of fetch handlers: a request that it skips is guarded by neither', async (_name, app) => {
  await using server = await listen(
    getRequestListener(app(() => new Response(wire(chatChunk('Hi')), { headers: eventStream }))),
  )
  using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
  expect(client.status).toBe(200)
  expect(client.bodyText).toBe(wire(chatChunk('Hi')))
  expect(client.header('x-accel-buffering')).toBeUndefined()
})
