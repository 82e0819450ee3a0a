import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { compress } from 'hono/compress'
import { proxy } from 'hono/proxy'
import { stream, streamSSE } from 'hono/streaming'
import { describe, expect, test, vi } from 'vitest'
import { guardStreams, wrapApp } from '../../src/adapters/hono.js'
import { getStream, isStreamError, StreamError, wrapApp as wrapNode } from '../../src/index.js'
import { chatAnswer, chatChunk, failureOf } from '../support/chat.js'
import { type FetchServer, serveFetch } from '../support/fetch-server.js'
import { listen } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { good, type Script, startUpstream } from '../support/scripted-upstream.js'
import { eventStream, wire } from '../support/wire.js'

const path = '/v1/chat/completions'
const broken: Script = (exchange) => exchange.open().data(chatChunk('Hello')).fin()

/** How people write it: each with the app's own way to an upstream. */
const handlers: Record<string, (app: Hono, url: string) => Hono> = {
  'proxy()': (app, url) => app.post(path, ({ req }) => proxy(url, { method: 'POST', raw: req.raw })),
  'the response of fetch': (app, url) => app.post(path, () => fetch(url, { method: 'POST' })),
  'context.body()': (app, url) =>
    app.post(path, async (context) => {
      const { body } = await fetch(url, { method: 'POST' })
      return context.body(body as ReadableStream, 200, { 'content-type': 'text/event-stream' })
    }),
  'streamSSE()': (app, url) =>
    app.post(path, (context) =>
      streamSSE(context, async (events) => {
        for await (const data of eventsOf(url)) await events.writeSSE({ data })
      }),
    ),
  'stream()': (app, url) =>
    app.post(path, (context) => {
      context.header('content-type', 'text/event-stream')
      return stream(context, async (events) => {
        for await (const data of eventsOf(url)) await events.write(`data: ${data}\n\n`)
      })
    }),
}

/** A handler that reads by hand. A break goes unnoticed, as it does in most. */
async function* eventsOf(url: string): AsyncGenerator<string> {
  const upstream = await fetch(url, { method: 'POST' })
  let text = ''
  try {
    for await (const chunk of upstream.body ?? []) {
      text += new TextDecoder().decode(chunk)
      const events = text.split('\n\n')
      text = events.pop() ?? ''
      for (const event of events) yield event.replace(/^data: /, '')
    }
  } catch {}
}

async function serve(
  script: Script,
  build: (app: Hono, url: string) => Hono,
  options: object = {},
): Promise<FetchServer> {
  const upstream = await startUpstream(script)
  const server = await serveFetch((onEnd) => {
    const app = build(new Hono().use(guardStreams({ onEnd, ...options })), upstream.url)
    return (request) => app.fetch(request)
  })
  return {
    ...server,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
      await upstream[Symbol.asyncDispose]()
    },
  }
}

describe.each(Object.entries(handlers))('%s', (_name, build) => {
  test('a good stream is whole', async () => {
    await using server = await serve(good, build)
    using client = await rawRequest({ port: server.port, body: { stream: true, model: 'm' } }).finished()
    expect(client.data.map((data) => (data === '[DONE]' ? data : JSON.parse(data)))).toEqual(
      chatAnswer('Hello'),
    )
    expect(client.header('cache-control')).toBe('no-cache, no-transform')
    expect(client.header('x-request-id')).toMatch(/^[\w-]{36}$/)
    expect(await server.end()).toMatchObject({ outcome: 'completed', events: 3 })
  })

  test('one whose upstream breaks ends with an error', async () => {
    await using server = await serve(broken, build)
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(client.body.complete).toBe(true)
    expect(failureOf(client.data).code).toMatch(/^(connection_reset|upstream_truncated)$/)
    expect((await server.end()).outcome).toMatch(/^upstream_(hangup|truncated)$/)
  })
})

describe('guardStreams', () => {
  test('knows the model of a body that the handler has parsed, and its stream', async () => {
    await using server = await serve(good, (app, url) =>
      app.post(path, async (context) => {
        await context.req.json()
        expect(getStream(context)?.requestId).toMatch(/^[\w-]{36}$/)
        return fetch(url, { method: 'POST' })
      }),
    )
    using client = await rawRequest({ port: server.port, body: { stream: true, model: 'o3' } }).finished()
    expect(client.status).toBe(200)
    expect((await server.end()).model).toBe('o3')
  })

  test('leaves JSON, texts, pages that are not there and their headers alone', async () => {
    const app = (guarded: boolean) => {
      const each = new Hono()
      if (guarded) each.use(guardStreams())
      return each
        .post('/json', (context) => context.json({ a: 1 }, 201, { 'x-mine': 'yes' }))
        .get('/text', (context) => context.text('hi'))
        .get('/error', (context) => context.text('no', 503))
    }
    for (const [method, url] of [
      ['POST', '/json'],
      ['GET', '/text'],
      ['GET', '/error'],
      ['GET', '/nowhere'],
    ] as const) {
      const [bare, behind] = await Promise.all(
        [false, true].map(async (guarded) => {
          const response = await app(guarded).request(url, { method })
          return [response.status, [...response.headers], await response.text()]
        }),
      )
      expect(behind).toEqual(bare)
    }
  })

  test("a handler that throws is a 500 in the client's format; the app's own answer stays", async () => {
    const print = vi.spyOn(console, 'error').mockImplementation(() => {})
    const bug = (app: Hono) =>
      app.post(path, () => {
        throw new Error('password=hunter2')
      })
    const ask = (app: Hono) => app.request(path, { method: 'POST' })
    const failed = await ask(bug(new Hono().use(guardStreams({ onEnd: () => true }))))
    expect(failed.status).toBe(500)
    expect(await failed.json()).toMatchObject({ error: { code: 'internal_error' } })
    const own = bug(new Hono().use(guardStreams())).onError((_error, context) =>
      context.json({ mine: 1 }, 500),
    )
    expect(await (await ask(own)).json()).toEqual({ mine: 1 })
    expect(print.mock.calls.map(([error]) => String(error))).toEqual(['Error: password=hunter2'])
    print.mockRestore()
  })

  test('a handler that returns nothing: JSON to a request for a stream, the response of Hono to any other', async () => {
    const print = vi.spyOn(console, 'error').mockImplementation(() => {})
    const nothing = (app: Hono) => app.post('*', (() => undefined) as never)
    // With a middleware Hono responds differently than without any.
    const bare = nothing(new Hono().use(async (_context, next) => void (await next())))
    const behind = nothing(new Hono().use(guardStreams()))
    const failed = await behind.request(path, { method: 'POST' })
    expect(failed.status).toBe(500)
    expect(await failed.json()).toMatchObject({ error: { code: 'internal_error' } })
    const page = async (app: Hono) => {
      const response = await app.request('/page', { method: 'POST' })
      return [response.status, [...response.headers], await response.text()]
    }
    expect(await page(behind)).toEqual(await page(bare))
    print.mockRestore()
  })

  test('a handler that throws, and was not asked for a stream: the app hears of it once', async () => {
    const errors: unknown[] = []
    const app = new Hono().use(guardStreams()).get('/page', () => {
      throw new Error('a bug')
    })
    app.onError((error, context) => {
      errors.push(error)
      return context.text('sorry', 500)
    })
    expect(await (await app.request('/page')).text()).toBe('sorry')
    expect(errors).toHaveLength(1)
  })

  test('an error of unhang keeps its status', async () => {
    const print = vi.spyOn(console, 'error').mockImplementation(() => {})
    const app = new Hono().use(guardStreams()).post(path, () => {
      throw new StreamError('upstream_hangup')
    })
    expect((await app.request(path, { method: 'POST' })).status).toBe(503)
    expect(print.mock.calls.every(([error]) => isStreamError(error))).toBe(true)
    print.mockRestore()
  })

  test('keeps compress() from holding a stream back', async () => {
    const app = new Hono()
      .use(compress())
      .use(guardStreams())
      .get('/', () => new Response('data: hi\n\n', { headers: { 'content-type': 'text/event-stream' } }))
    const response = await app.request('/', { headers: { 'accept-encoding': 'gzip' } })
    expect(response.headers.get('content-encoding')).toBeNull()
    expect(await response.text()).toBe('data: hi\n\n')
  })

  test('stands inside a guard around the whole server: there is one record', async () => {
    await using upstream = await startUpstream(good)
    const ends: string[] = []
    const app = new Hono()
      .use(guardStreams({ onEnd: () => ends.push('inner') }))
      .post(path, () => fetch(upstream.url, { method: 'POST' }))
    const listener = wrapNode(getRequestListener(app.fetch), { onEnd: () => ends.push('outer') })
    await using server = await listen(listener)
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(client.data.at(-1)).toBe('[DONE]')
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
    expect(ends).toEqual(['inner'])
  })

  test('a stream that is cut right behind its first event: the client has the event', async () => {
    const app = new Hono()
    app.use(guardStreams({ reportErrors: false }))
    app.post(path, () => {
      const first = new TextEncoder().encode(wire(chatChunk('Hello')))
      let isFirst = true
      const body = new ReadableStream({
        pull(controller) {
          if (isFirst) controller.enqueue(first)
          else controller.error(new Error('the upstream broke'))
          isFirst = false
        },
      })
      return new Response(body, { headers: eventStream })
    })
    const printed = vi.spyOn(console, 'error').mockImplementation(() => {})
    await using server = await listen(getRequestListener(app.fetch))
    for (let times = 0; times < 20; times++) {
      using client = await rawRequest({ port: server.port, body: { stream: true } }).closed()
      expect(client.status).toBe(200)
      expect(client.bodyText).toContain('Hello')
      expect(client.body.complete).toBe(false)
    }
    printed.mockRestore()
  })

  test('a mistake shows at once', () => {
    expect(() => guardStreams({ heartbeat: 1 } as never)).toThrow('writer: { heartbeatMs }')
    expect(() => (guardStreams as (...args: unknown[]) => unknown)({}, () => {})).toThrow(
      'with the parentheses',
    )
  })
})

test('wrapApp protects a whole app', async () => {
  await using upstream = await startUpstream(broken)
  const app = new Hono().post(path, () => fetch(upstream.url, { method: 'POST' }))
  await using server = await serveFetch((onEnd) => wrapApp(app, { onEnd }))
  using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
  expect(failureOf(client.data).code).toBe('connection_reset')
  expect((await server.end()).outcome).toBe('upstream_hangup')
})
