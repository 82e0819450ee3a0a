import { getRequestListener } from '@hono/node-server'
import { type Context, Hono } from 'hono'
import { describe, expect, test, vi } from 'vitest'
import { guardStreams } from '../../src/adapters/hono.js'
import { drainStreams, type StreamEnd, wrapApp as wrapListener } from '../../src/index.js'
import { createResume, memoryStore, type Resume, type ResumeStore } from '../../src/resume/index.js'
import { getSignal, guardResponse, relayResponse, wrapApp } from '../../src/web/index.js'
import { failureOf } from '../support/chat.js'
import { listen, listenOn } from '../support/proxy.js'
import { startUpstream } from '../support/scripted-upstream.js'
import { eventStream, wire } from '../support/wire.js'
import { withResolvers } from '../support/with-resolvers.js'
import {
  chat,
  closing,
  events,
  type Mount,
  settingsOf,
  startBreaking,
  startHalf,
  testMounts,
} from './mounted.js'
import { eventsIn, readSome, user } from './resumable.js'

type Fetch = (request: Request, bindings?: object) => Response | Promise<Response>

const ownerOf = ({ headers }: Request) => headers.get('x-user') ?? undefined
const call = (url: string, signal?: AbortSignal) => fetch(url, { method: 'POST', signal: signal ?? null })

async function serve(handler: Fetch): Promise<string> {
  const server = await listen(getRequestListener(handler))
  closing.push(() => server[Symbol.asyncDispose]())
  return server.url
}

/** `POST` produces, the others rejoin and stop. */
function withResume(resume: Resume, post: Fetch): Fetch {
  const handlers: Record<string, Fetch> = { GET: resume.rejoin(), DELETE: resume.stop(), POST: post }
  return (request, bindings) => (handlers[request.method] as Fetch)(request, bindings)
}

type Post = (upstream: string, options: { resume: Resume; onEnd: (end: StreamEnd) => boolean }) => Fetch

const fetchHandler =
  (post: Post): Mount =>
  async (upstream, settings) => {
    const { ends, onEnd, store, detachMs } = settingsOf(settings)
    const resume = createResume<Request>({ store, owner: ownerOf, detachMs })
    return { url: await serve(withResume(resume, post(upstream, { resume, onEnd }))), resume, ends }
  }

const hono =
  (kind: 'guardStreams' | 'wrapApp' | 'relayResponse'): Mount =>
  async (upstream, settings) => {
    const { ends, onEnd, store, detachMs } = settingsOf(settings)
    const app = new Hono<{ Variables: { user: string | undefined } }>()
    const byContext = createResume<Context>({ store, owner: (context) => context.get('user'), detachMs })
    const byRequest = createResume<Request>({ store, owner: ownerOf, detachMs })
    const resume: Resume = kind === 'wrapApp' ? byRequest : byContext
    app.use(async (context, next) => {
      context.set('user', context.req.header('x-user'))
      await next()
    })
    if (kind !== 'wrapApp') app.use(guardStreams({ resume, onEnd }))
    if (kind === 'relayResponse') {
      app.post(chat, ({ req }) =>
        relayResponse(({ signal }) => call(upstream, signal), undefined, { request: req.raw, onEnd }),
      )
    } else app.post(chat, (context) => call(upstream, getSignal(context)))
    if (kind === 'wrapApp') {
      const guarded = wrapApp(app, { resume, onEnd })
      return { url: await serve(withResume(resume, (request) => guarded(request))), resume, ends }
    }
    app.get('/v1/streams/:id', resume.rejoin())
    app.delete('/v1/streams/:id', resume.stop())
    return { url: await serve(app.fetch), resume, ends }
  }

const mounts: Record<string, Mount> = {
  relayResponse: fetchHandler(
    (upstream, options) => (request) =>
      relayResponse(({ signal }) => call(upstream, signal), undefined, { ...options, request }),
  ),
  'relayResponse, translating': fetchHandler(
    (upstream, options) => (request) =>
      relayResponse(
        ({ signal }) => call(upstream, signal),
        (event) => ({ data: event.data }),
        { ...options, request },
      ),
  ),
  guardResponse: fetchHandler(
    (upstream, options) => async (request) => guardResponse(await call(upstream), { ...options, request }),
  ),
  wrapApp: fetchHandler((upstream, options) =>
    wrapApp((request: Request) => call(upstream, getSignal(request)), options),
  ),
  'wrapApp around guardResponse': fetchHandler((upstream, { resume, onEnd }) =>
    wrapApp(async (request: Request) => guardResponse(await call(upstream), { request, onEnd }), { resume }),
  ),
  'Hono, guardStreams': hono('guardStreams'),
  'Hono, wrapApp': hono('wrapApp'),
  'Hono, guardStreams around relayResponse': hono('relayResponse'),
}

testMounts(mounts)

describe.each(Object.entries(mounts))('%s', (_, mount) => {
  test('a stop lets the upstream go, and its clients hear of it', async () => {
    const upstream = await startHalf()
    const { url, resume, ends } = await mount(upstream.url)
    const first = await fetch(url + chat, { method: 'POST', headers: user })
    const id = first.headers.get('unhang-stream') as string
    const beside = await fetch(`${url}/v1/streams/${id}`, { headers: user })
    const stop = (headers: Record<string, string>) =>
      fetch(`${url}/v1/streams/${id}`, { method: 'DELETE', headers })
    expect((await stop({ 'x-user': 'bob' })).status).toBe(404)
    expect((await resume.find(id))?.end).toBeUndefined()
    expect((await stop(user)).status).toBe(204)
    await upstream.left
    for (const response of [first, beside]) {
      expect(failureOf(eventsIn(await response.text())).code).toBe('request_aborted')
    }
    await expect
      .poll(() => ends)
      .toContainEqual(expect.objectContaining({ outcome: 'aborted', streamId: id, recorded: true }))
    // What is replayed is not recorded once more, whichever guard stands around the handlers.
    expect(ends.filter(({ recorded }) => recorded)).toHaveLength(1)
  })
})

/** A store that has nothing before it is let on. */
function slowStore(): { store: ResumeStore; letOn(): void } {
  const store = memoryStore()
  const gate = withResolvers()
  return {
    letOn: () => gate.resolve(),
    store: {
      record: async (...about) => {
        await gate.promise
        return store.record(...about)
      },
      find: (id) => store.find(id),
      follow: (...from) => store.follow(...from),
      stop: (id, why) => store.stop(id, why),
    },
  }
}

const upstreamOf = (text: string) => new Response(text, { headers: eventStream })
const whole = upstreamOf.bind(undefined, wire('Hé', '[DONE]'))

describe('a response is not given before its stream can be rejoined', () => {
  const ways: Record<string, (resume: Resume, request: Request) => Promise<Response>> = {
    relayResponse: (resume, request) => relayResponse(whole, undefined, { request, resume }),
    wrapApp: (resume, request) => wrapApp(whole, { resume })(request),
    async guardStreams(resume, request) {
      const app = new Hono()
      app.use(guardStreams({ resume }))
      app.post(chat, () => whole())
      return await app.fetch(request)
    },
  }

  test.each(Object.entries(ways))('%s', async (_, respond) => {
    const { store, letOn } = slowStore()
    const resume = createResume({ store, owner: false })
    const given = vi.fn()
    const response = respond(resume, new Request(`http://localhost${chat}`, { method: 'POST' }))
    response.then(given, given)
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
    expect(given).not.toHaveBeenCalled()
    letOn()
    const id = (await response).headers.get('unhang-stream') as string
    expect(await resume.find(id)).toBeDefined()
    expect(await (await response).text()).toBe(wire('Hé', '[DONE]'))
  })
})

describe('an id that the app has chosen', () => {
  test('is taken: relayResponse responds with 409, and lets go of an upstream that is there already', async () => {
    const upstream = await startHalf()
    const resume = createResume({ owner: false, streamId: () => 'chosen' })
    const post: Fetch = (request) => relayResponse(call(upstream.url), undefined, { request, resume })
    const url = await serve(withResume(resume, post))
    const first = await fetch(url + chat, { method: 'POST' })
    expect(first.headers.get('unhang-stream')).toBe('chosen')
    const second = await fetch(url + chat, { method: 'POST' })
    expect(second.status).toBe(409)
    expect(second.headers.get('x-should-retry')).toBe('false')
    expect(second.headers.has('unhang-stream')).toBe(false)
    expect(await second.json()).toMatchObject({ error: { code: 'stream_id_taken' } })
    await upstream.left
    upstream.letOn()
    expect(eventsIn(await first.text())).toEqual(events)
  })

  test('is not named behind a guard, and one that is taken is served', async () => {
    const upstream = await startHalf()
    const ends: StreamEnd[] = []
    const resume = createResume({ owner: false, streamId: () => 'chosen' })
    const guarded = wrapApp(() => call(upstream.url), { resume, onEnd: (end) => ends.push(end) })
    const url = await serve(withResume(resume, (request) => guarded(request)))
    const bodies: Promise<string>[] = []
    for (let stream = 1; stream <= 2; stream++) {
      const response = await fetch(url + chat, { method: 'POST' })
      expect(response.headers.has('unhang-stream')).toBe(false)
      bodies.push(response.text())
    }
    upstream.letOn()
    for (const body of bodies) expect(eventsIn(await body)).toEqual(events)
    await expect.poll(() => ends.map(({ recorded }) => recorded).sort()).toEqual([false, true])
  })
})

test('a client that leaves before its headers leaves a stream behind', async () => {
  const gate = withResolvers()
  const upstream = await startUpstream(async (exchange) => {
    await gate.promise
    exchange
      .open()
      .data(...events)
      .end()
  })
  closing.push(() => upstream[Symbol.asyncDispose]())
  const { ends, onEnd } = settingsOf()
  const resume = createResume({ owner: false, streamId: () => 'early' })
  const left = withResolvers()
  const post: Fetch = (request) => {
    request.signal.addEventListener('abort', () => left.resolve())
    return relayResponse(({ signal }) => call(upstream.url, signal), undefined, { request, resume, onEnd })
  }
  const url = await serve(withResume(resume, post))
  const client = new AbortController()
  const first = fetch(url + chat, { method: 'POST', signal: client.signal }).catch(() => {})
  await expect.poll(() => resume.find('early')).toBeDefined()
  client.abort()
  await first
  await left.promise
  gate.resolve()
  const rest = await fetch(`${url}/v1/streams/early`)
  expect(eventsIn(await rest.text())).toEqual(events)
  await expect
    .poll(() => ends)
    .toContainEqual(expect.objectContaining({ outcome: 'completed', detached: true, status: undefined }))
})

test('an upstream that breaks while its client is away is reported to the next reader', async () => {
  const upstream = await startBreaking()
  const { url, ends } = await (mounts.wrapApp as Mount)(upstream.url)
  const first = await readSome(url + chat, { method: 'POST', headers: user }, 5)
  const id = first.response.headers.get('unhang-stream') as string
  first.leave()
  const rest = await fetch(`${url}/v1/streams/${id}?after=5`, { headers: user })
  upstream.breakOff()
  expect(failureOf(eventsIn(await rest.text())).code).toBe('connection_reset')
  await expect
    .poll(() => ends)
    .toContainEqual(expect.objectContaining({ outcome: 'upstream_hangup', streamId: id, detached: true }))
})

test('a call with the signal of the request ends with it, and its upstream is not blamed', async () => {
  const upstream = await startHalf()
  const { ends, onEnd } = settingsOf()
  const resume = createResume({ owner: false })
  const post: Fetch = async (request) =>
    guardResponse(await call(upstream.url, request.signal), { request, resume, onEnd })
  const url = await serve(withResume(resume, post))
  const first = await readSome(url + chat, { method: 'POST' }, 10)
  first.leave()
  await expect.poll(() => ends).toMatchObject([{ outcome: 'client_gone', recorded: true }])
  const id = first.response.headers.get('unhang-stream')
  const rest = await fetch(`${url}/v1/streams/${id}?after=${first.events.length}`)
  expect(failureOf(eventsIn(await rest.text())).code).toBe('client_disconnected')
})

test('an upstream that is read on without a client does not wait for the one that has left', async () => {
  const piece = 'x'.repeat(100_000)
  const gate = withResolvers()
  const upstream = await startUpstream(async (exchange) => {
    exchange.open()
    for (let number = 0; number < 100; number++) exchange.data(`${number} ${piece}`)
    await gate.promise
    exchange.data('[DONE]').end()
  })
  closing.push(() => upstream[Symbol.asyncDispose]())
  const resume = createResume<Request>({ owner: false, maxBytes: 64 * 1024 * 1024 })
  const post: Fetch = async (request) => guardResponse(await call(upstream.url), { request, resume })
  const url = await serve(withResume(resume, post))
  // It reads nothing at all before it leaves.
  const { response, leave } = await readSome(url + chat, { method: 'POST' }, 0)
  const id = response.headers.get('unhang-stream') as string
  leave()
  await expect.poll(async () => (await resume.find(id))?.last, { timeout: 10_000 }).toBe(100)
  gate.resolve()
  const rest = await fetch(`${url}/v1/streams/${id}?after=99`)
  expect(eventsIn(await rest.text()).map((data) => data.slice(0, 3))).toEqual(['99 ', '[DO'])
})

test('a client that has left by the signal of its request alone holds nothing back', async () => {
  const client = new AbortController()
  const request = new Request('http://localhost/', { method: 'POST', signal: client.signal })
  const { ends, onEnd } = settingsOf()
  const resume = createResume({ owner: false })
  const encoder = new TextEncoder()
  const upstream = ReadableStream.from(events.map((data) => encoder.encode(`data: ${data}\n\n`)))
  guardResponse(new Response(upstream, { headers: eventStream }), { request, resume, onEnd })
  // The first event waits for it by now.
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
  client.abort()
  await expect.poll(() => ends).toMatchObject([{ outcome: 'completed', detached: true, events: 62 }])
})

test('a server that still waits for a response is not kept waiting when its client has left', async () => {
  const client = new AbortController()
  const request = new Request('http://localhost/', { method: 'POST', signal: client.signal })
  const { ends, onEnd } = settingsOf()
  const resume = createResume({ owner: false })
  const gate = withResolvers()
  const upstream = gate.promise.then(() => whole())
  const response = relayResponse(upstream, undefined, { request, resume, onEnd })
  client.abort()
  expect((await response).status).toBe(499)
  gate.resolve()
  await expect.poll(() => ends).toMatchObject([{ outcome: 'completed', detached: true, events: 2 }])
})

test('JSON lines are recorded as they are', async () => {
  const lines = [
    { message: { content: 'a' }, done: false },
    { message: { content: 'b' }, done: true },
  ].map((line) => `${JSON.stringify(line)}\n`)
  const resume = createResume({ owner: false })
  const headers = { 'content-type': 'application/x-ndjson' }
  const guarded = wrapApp(() => new Response(lines.join(''), { headers }), { resume })
  const url = await serve(withResume(resume, (request) => guarded(request)))
  const first = await fetch(`${url}/api/chat`, { method: 'POST' })
  expect(await first.text()).toBe(lines.join(''))
  const again = await fetch(`${url}/v1/streams/${first.headers.get('unhang-stream')}?after=1`)
  expect(again.headers.get('content-type')).toBe('application/x-ndjson')
  expect(await again.text()).toBe(lines[1])
})

test('a response that is not an event stream is the same object as before, and a compressed one has no id', async () => {
  const resume = createResume({ owner: false })
  const request = new Request('http://localhost/', { method: 'POST' })
  const plain = Response.json({ ok: true })
  expect(guardResponse(plain, { request, resume })).toBe(plain)
  const packed = new Response('\x1f\x8b', { headers: { ...eventStream, 'content-encoding': 'gzip' } })
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  expect(guardResponse(packed, { request, resume }).headers.has('unhang-stream')).toBe(false)
})

test('a page of another origin may read the id where it may read the events', async () => {
  const resume = createResume({ owner: false })
  const writer = { cors: ['https://page.test'] }
  const request = new Request('http://localhost/', { headers: { origin: 'https://page.test' } })
  const { headers } = await relayResponse(whole, undefined, { request, resume, writer })
  expect(headers.get('access-control-expose-headers')).toBe('unhang-stream')
  expect(headers.get('access-control-allow-origin')).toBe('https://page.test')
})

test('without a request the owner of the stream is unknown', async () => {
  const resume = createResume({ owner: false })
  const message = 'resume needs the option request, which says whose stream it is'
  expect(() => guardResponse(whole(), { resume })).toThrow(new TypeError(message))
  await expect(relayResponse(whole, undefined, { resume })).rejects.toThrow(new TypeError(message))
})

test('a guard of node:http around the app leaves what is replayed alone', async () => {
  const inner = createResume({ owner: false })
  const outer = createResume({ owner: false })
  const ends: StreamEnd[] = []
  const app = new Hono()
  app.use(guardStreams({ resume: inner }))
  app.post(chat, () => whole())
  app.get('/v1/streams/:id', inner.rejoin())
  const around = wrapListener(getRequestListener(app.fetch), {
    resume: outer,
    onEnd: (end) => ends.push(end),
    when: 'responds',
  })
  const server = await listen(around)
  closing.push(() => server[Symbol.asyncDispose]())
  const first = await fetch(server.url + chat, { method: 'POST' })
  const id = first.headers.get('unhang-stream') as string
  const text = await first.text()
  const again = await fetch(`${server.url}/v1/streams/${id}`)
  expect(again.headers.get('unhang-stream')).toBe(id)
  expect(await again.text()).toBe(text)
  // The options of the outer guard are the defaults of what stands inside it.
  await expect
    .poll(() => ends.map(({ recorded, streamId }) => [recorded, streamId]))
    .toEqual([
      [true, id],
      [false, id],
    ])
})

test('a server that drains sends the readers of a replay elsewhere', async () => {
  const upstream = await startHalf()
  const resume = createResume({ owner: false })
  const app = new Hono()
  app.use(guardStreams({ resume }))
  app.post(chat, () => call(upstream.url))
  app.get('/v1/streams/:id', resume.rejoin())
  const { createServer } = await import('node:http')
  const node = createServer(getRequestListener(app.fetch))
  const server = await listenOn(node)
  closing.push(() => upstream.letOn())
  const first = await fetch(server.url + chat, { method: 'POST' })
  const reading = await fetch(`${server.url}/v1/streams/${first.headers.get('unhang-stream')}`)
  const drained = drainStreams(node, { graceMs: 60_000 })
  expect(failureOf(eventsIn(await reading.text())).code).toBe('server_shutting_down')
  upstream.letOn()
  expect(eventsIn(await first.text())).toEqual(events)
  expect(await drained).toMatchObject({ finished: 1, reported: 1, forced: 0 })
})
