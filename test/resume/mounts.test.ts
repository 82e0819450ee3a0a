import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import { pipeline, Readable } from 'node:stream'
import KoaRouter from '@koa/router'
import Fastify, { type FastifyRequest } from 'fastify'
import Koa from 'koa'
import { describe, expect, test, vi } from 'vitest'
import { createStreamMiddleware, guardStreams } from '../../src/adapters/express.js'
import * as fastify from '../../src/adapters/fastify.js'
import * as koa from '../../src/adapters/koa.js'
import { channels, type StreamEnd, wrapApp } from '../../src/index.js'
import { createResume, type Resume } from '../../src/resume/index.js'
import { expressVersions } from '../support/express-versions.js'
import { listen, listenOn } from '../support/proxy.js'
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

type Handler = (upstream: string, request: IncomingMessage, response: ServerResponse) => unknown

const head = { 'content-type': 'text/event-stream' }

/** Handlers as people write them, which know nothing of unhang. */
const handlers: Record<string, Handler> = {
  'a loop over fetch': async (upstream, _request, response) => {
    const { body } = await fetch(upstream, { method: 'POST' })
    response.writeHead(200, head)
    for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) response.write(chunk)
    response.end()
  },
  'a loop that waits for its client': async (upstream, _request, response) => {
    const { body } = await fetch(upstream, { method: 'POST' })
    response.setHeader('content-type', 'text/event-stream')
    for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
      await new Promise((resolve) => response.write(chunk, resolve))
    }
    response.end()
  },
  'fetch, piped': async (upstream, _request, response) => {
    const { body } = await fetch(upstream, { method: 'POST' })
    response.writeHead(200, head)
    Readable.fromWeb(body as never).pipe(response)
  },
  'http, piped': (upstream, _request, response) => {
    httpRequest(upstream, { method: 'POST' }, (answer) => {
      response.writeHead(answer.statusCode ?? 0, answer.headers)
      answer.pipe(response)
    }).end()
  },
  'http, by pipeline': (upstream, _request, response) => {
    httpRequest(upstream, { method: 'POST' }, (answer) => {
      response.writeHead(200, head)
      pipeline(answer, response, () => {})
    }).end()
  },
}

const guarded =
  (handler: Handler): Mount =>
  async (upstream, settings = {}) => {
    const { ends, store, onEnd, detachMs } = settingsOf(settings)
    const resume = createResume({ store, owner: ({ headers }) => headers['x-user']?.toString(), detachMs })
    const rejoin = resume.rejoin()
    const app = wrapApp(
      (request, response) =>
        request.method === 'GET' ? rejoin(request, response) : handler(upstream, request, response),
      { resume, onEnd, adopt: settings.adopt },
    )
    const server = await listen(app)
    closing.push(() => server[Symbol.asyncDispose]())
    return { url: server.url, resume, ends }
  }

const mounts: Record<string, Mount> = {
  ...Object.fromEntries(
    Object.entries(handlers).map(([name, handler]) => [`wrapApp, ${name}`, guarded(handler)]),
  ),
  ...Object.fromEntries(
    expressVersions.flatMap(([version, express]): [string, Mount][] =>
      (['a route', 'guarded'] as const).map((kind) => [
        `${version}, ${kind}`,
        async (upstream, settings = {}) => {
          const { ends, store, onEnd, detachMs } = settingsOf(settings)
          const resume = createResume<IncomingMessage & { user?: string }>({
            store,
            owner: (request) => request.user,
            detachMs,
          })
          const app = express()
          app.use((request, _response, next) => {
            Object.assign(request, { user: request.headers['x-user'] })
            next()
          })
          if (kind === 'guarded') {
            app.use(guardStreams({ resume, onEnd, adopt: settings.adopt }))
            app.post(chat, (request, response) =>
              (handlers['a loop over fetch'] as Handler)(upstream, request, response),
            )
          } else {
            const handler = createStreamMiddleware(
              ({ relay, signal }) => relay(fetch(upstream, { method: 'POST', signal })).then(() => {}),
              {
                when: 'always',
                resume,
                onEnd,
              },
            )
            app.post(chat, handler)
          }
          app.get('/v1/streams/:id', resume.rejoin())
          app.delete('/v1/streams/:id', resume.stop())
          const server = await listenOn(createServer(app))
          closing.push(() => server[Symbol.asyncDispose]())
          return { url: server.url, resume: resume as Resume, ends }
        },
      ]),
    ),
  ),
  ...Object.fromEntries(
    (['a route', 'guarded', 'wrapped'] as const).map((kind): [string, Mount] => [
      `Koa, ${kind}`,
      async (upstream, settings = {}) => {
        const { ends, store, onEnd, detachMs } = settingsOf(settings)
        const resume = createResume<Koa.Context>({ store, owner: ({ state }) => state.user, detachMs })
        const app = new Koa()
        // It prints that its client has left.
        app.silent = true
        const router = new KoaRouter()
        app.use((context, next) => {
          context.state.user = context.get('x-user')
          return next()
        })
        if (kind === 'guarded') app.use(koa.guardStreams({ resume, onEnd, adopt: settings.adopt }))
        if (kind === 'a route') {
          router.post(
            chat,
            koa.createStreamMiddleware(
              async ({ relay, signal }) => void (await relay(fetch(upstream, { method: 'POST', signal }))),
              { when: 'always', resume, onEnd },
            ),
          )
        } else {
          router.post(chat, async (context) => {
            const { body } = await fetch(upstream, { method: 'POST' })
            context.type = 'text/event-stream'
            context.body = Readable.fromWeb(body as never)
          })
        }
        router.get('/v1/streams/:id', resume.rejoin())
        router.delete('/v1/streams/:id', resume.stop())
        app.use(router.routes())
        const listener = kind === 'wrapped' ? koa.wrapApp(app, { resume, onEnd }) : app.callback()
        const server = await listen(listener)
        closing.push(() => server[Symbol.asyncDispose]())
        return { url: server.url, resume, ends }
      },
    ]),
  ),
  ...Object.fromEntries(
    (['a route', 'guarded', 'wrapped'] as const).map((kind): [string, Mount] => [
      `Fastify, ${kind}`,
      async (upstream, settings = {}) => {
        const { ends, store, onEnd, detachMs } = settingsOf(settings)
        const owner = (request: FastifyRequest) => request.getDecorator<string>('user')
        const resume = createResume<FastifyRequest>({ store, owner, detachMs })
        const app = Fastify({ forceCloseConnections: true })
        app.decorateRequest('user', '')
        if (kind === 'guarded') {
          app.register(fastify.guardStreams({ resume, onEnd, adopt: settings.adopt }))
        }
        app.addHook('onRequest', async (request) => {
          request.setDecorator('user', String(request.headers['x-user'] ?? ''))
        })
        if (kind === 'a route') {
          app.post(
            chat,
            fastify.createStreamMiddleware(
              async ({ relay, signal }) => void (await relay(fetch(upstream, { method: 'POST', signal }))),
              { when: 'always', resume, onEnd },
            ),
          )
        } else {
          app.post(chat, async (_request, reply) => {
            const { body } = await fetch(upstream, { method: 'POST' })
            return reply.type('text/event-stream').send(Readable.fromWeb(body as never))
          })
        }
        app.get('/v1/streams/:id', resume.rejoin())
        app.delete('/v1/streams/:id', resume.stop())
        closing.push(() => app.close())
        if (kind !== 'wrapped') {
          return { url: await app.listen({ port: 0, host: '127.0.0.1' }), resume: resume as Resume, ends }
        }
        const server = await listen(fastify.wrapApp(app, { resume, onEnd, adopt: settings.adopt }))
        closing.push(() => server[Symbol.asyncDispose]())
        return { url: server.url, resume: resume as Resume, ends }
      },
    ]),
  ),
}

testMounts(mounts)

describe('in the guard', () => {
  test('a handler hears of its client only when the stream does not go on', async () => {
    const heard: string[] = []
    const gate = withResolvers()
    const ended = withResolvers()
    const { url } = await guarded(async (_upstream, _request, response) => {
      for (const name of ['close', 'drain', 'finish', 'error']) response.on(name, () => heard.push(name))
      response.writeHead(200, head)
      response.write(`data: ${events[0]}\n\ndata: `)
      await gate.promise
      const called = await new Promise((resolve) => {
        expect(response.write(`${events[1]}\n`, resolve)).toBe(true)
      })
      expect(called).toBeUndefined()
      heard.push('written')
      response.end('\ndata: [DONE]\n\n', () => ended.resolve())
    })('')
    const first = await readSome(url + chat, { method: 'POST', headers: user }, 1)
    const id = first.response.headers.get('unhang-stream') as string
    first.leave()
    await expect.poll(() => heard).toEqual(['drain'])
    gate.resolve()
    await ended.promise
    await expect.poll(() => heard).toEqual(['drain', 'written', 'finish', 'close'])
    const again = await fetch(`${url}/v1/streams/${id}`, { headers: user })
    expect(eventsIn(await again.text())).toEqual([events[0], events[1], '[DONE]'])
  })

  test('an explicit keep goes before detachMs', async () => {
    const upstream = await startHalf()
    const handler = handlers['a loop over fetch'] as Handler
    const { url, ends } = await guarded(handler)(upstream.url, {
      detachMs: 20,
      adopt: { onDisconnect: 'keep' },
    })
    const first = await readSome(url + chat, { method: 'POST', headers: user }, 10)
    first.leave()
    await expect.poll(() => ends).toMatchObject([{ outcome: 'client_gone', upstreamsLeftRunning: 1 }])
    upstream.letOn()
  })

  test('an upstream that breaks while its client is away is reported to the next reader', async () => {
    const upstream = await startBreaking()
    const { url, ends } = await guarded(handlers['http, piped'] as Handler)(upstream.url)
    const first = await readSome(url + chat, { method: 'POST', headers: user }, 5)
    const id = first.response.headers.get('unhang-stream') as string
    first.leave()
    const rest = fetch(`${url}/v1/streams/${id}?after=5`, { headers: user })
    await rest
    upstream.breakOff()
    expect(await (await rest).text()).toContain('"code":"connection_reset"')
    await expect
      .poll(() => ends)
      .toContainEqual(expect.objectContaining({ outcome: 'upstream_hangup', streamId: id }))
  })

  test('a response that is not an event stream is as it was', async () => {
    const { url, ends } = await guarded((_upstream, _request, response) => {
      response.setHeader('content-type', 'application/json')
      response.end('{"ok":true}')
    })('')
    const response = await fetch(url + chat, { method: 'POST', headers: user })
    expect(await response.json()).toEqual({ ok: true })
    expect(response.headers.has('unhang-stream')).toBe(false)
    expect(ends).toEqual([])
  })
})

test('behind the guard a head does not name an id that the app has chosen: it may be taken', async () => {
  const upstream = await startHalf()
  const ends: StreamEnd[] = []
  const resume = createResume({ owner: false, streamId: () => 'chosen' })
  const rejoin = resume.rejoin()
  const server = await listen(
    wrapApp(
      (request, response) =>
        request.method === 'GET'
          ? rejoin(request, response)
          : (handlers['a loop over fetch'] as Handler)(upstream.url, request, response),
      { resume, onEnd: (end) => ends.push(end) },
    ),
  )
  closing.push(() => server[Symbol.asyncDispose]())
  const bodies: Promise<string>[] = []
  for (let stream = 1; stream <= 2; stream++) {
    const response = await fetch(server.url + chat, { method: 'POST' })
    expect(response.headers.has('unhang-stream')).toBe(false)
    bodies.push(response.text())
  }
  upstream.letOn()
  for (const body of bodies) expect(eventsIn(await body)).toEqual(events)
  await expect.poll(() => ends.map(({ recorded }) => recorded).sort()).toEqual([false, true])
  expect(eventsIn(await (await fetch(`${server.url}/v1/streams/chosen`)).text())).toEqual(events)
})

test('JSON lines are recorded as they are', async () => {
  const lines = [
    { message: { content: 'a' }, done: false },
    { message: { content: 'b' }, done: true },
  ]
  const { url } = await guarded((_upstream, _request, response) => {
    response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    for (const line of lines) response.write(`${JSON.stringify(line)}\n`)
    response.end()
  })('')
  const first = await fetch(`${url}/api/chat`, { method: 'POST', headers: user })
  expect((await first.text()).trim().split('\n')).toHaveLength(2)
  const id = first.headers.get('unhang-stream')
  const again = await fetch(`${url}/v1/streams/${id}?after=1`, { headers: user })
  expect(again.headers.get('content-type')).toBe('application/x-ndjson')
  expect(await again.text()).toBe(`${JSON.stringify(lines[1])}\n`)
})

test('the id of a stream stands in no log line, and on no channel but in its record', async () => {
  const written = vi.spyOn(process.stderr, 'write').mockImplementation(() => true)
  const said: unknown[] = []
  const listener = (message: unknown) => said.push(message)
  const others = [channels.start, channels.head, channels.timeout, channels.cleanup, channels.reported]
  for (const channel of others) channel.subscribe(listener)
  const { default: debug } = await import('debug')
  debug.enable('unhang:*')
  try {
    const upstream = await startHalf()
    const { url } = await guarded(handlers['a loop over fetch'] as Handler)(upstream.url)
    const first = await readSome(url + chat, { method: 'POST', headers: user }, 10)
    const id = first.response.headers.get('unhang-stream') as string
    first.leave()
    upstream.letOn()
    const again = await fetch(`${url}/v1/streams/${id}`, { headers: user })
    expect(eventsIn(await again.text())).toEqual(events)
    const log = written.mock.calls.map(([chunk]) => String(chunk)).join('')
    expect(log).toContain('unhang:stream')
    expect(log).not.toContain(id)
    expect(JSON.stringify(said)).not.toContain(id)
  } finally {
    debug.disable()
    for (const channel of others) channel.unsubscribe(listener)
    written.mockRestore()
  }
})
