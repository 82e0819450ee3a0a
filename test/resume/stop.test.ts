import http from 'node:http'
import { afterEach, describe, expect, test } from 'vitest'
import { type GuardOptions, type StreamEnd, wrapApp } from '../../src/index.js'
import { createResume, type ResumeOptions } from '../../src/resume/index.js'
import { failureOf } from '../support/chat.js'
import type { Handler } from '../support/guarded.js'
import { naiveProxies } from '../support/naive-proxies.js'
import { listen } from '../support/proxy.js'
import { startUpstream } from '../support/scripted-upstream.js'
import { expectHttpProxyWarning } from '../support/warnings.js'
import { eventStream } from '../support/wire.js'
import { withResolvers } from '../support/with-resolvers.js'
import { chatEvents, eventsIn, readSome } from './resumable.js'

expectHttpProxyWarning()

const events = chatEvents(62)
const chat = '/v1/chat/completions'
const post = { method: 'POST', body: '{"stream":true}', headers: { 'content-type': 'application/json' } }

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

/** An upstream that sends half of its answer, and no end. */
async function startHalf() {
  const left = withResolvers()
  const upstream = await startUpstream((exchange) => {
    exchange.socket.on('close', () => left.resolve())
    exchange.open().data(...events.slice(0, 31))
  })
  closing.push(() => upstream[Symbol.asyncDispose]())
  return { url: upstream.url, left: left.promise, upstream }
}

/** A guarded handler for `POST`; `GET` rejoins its streams, and `DELETE` stops them. */
async function start(
  handler: Handler,
  { adopt, ...options }: Partial<ResumeOptions> & Pick<GuardOptions, 'adopt'> = {},
) {
  const ends: StreamEnd[] = []
  const onEnd = (end: StreamEnd) => {
    ends.push(end)
    return true
  }
  const resume = createResume({ owner: false, ...options })
  const [rejoin, stop] = [resume.rejoin(), resume.stop()]
  const app = wrapApp(handler, { resume, onEnd, adopt })
  const server = await listen((request, response) => {
    if (request.method === 'GET') return rejoin(request, response)
    return request.method === 'DELETE' ? stop(request, response) : app(request, response)
  })
  closing.push(() => server[Symbol.asyncDispose]())
  const streamUrl = (id: string) => `${server.url}/v1/streams/${id}`
  return {
    ends,
    resume,
    ask: (path = chat) => fetch(server.url + path, post),
    askAndLeave: async (count: number) => {
      const { response, leave } = await readSome(server.url + chat, post, count)
      leave()
      return idOf(response)
    },
    stop: (id: string) => fetch(streamUrl(id), { method: 'DELETE' }),
    rejoin: (id: string) => fetch(streamUrl(id)),
  }
}

const idOf = (response: Response) => response.headers.get('unhang-stream') as string

// superagent throws where no code can catch it, each time its call is cancelled.
const clients = Object.entries(naiveProxies).filter(([, { throws }]) => !throws)

const byFetch = naiveProxies['fetch, for await'] as (typeof naiveProxies)[string]

describe('stop(), behind the guard', () => {
  test.each(clients)('lets the upstream of an untouched handler go: %s', async (_client, { to }) => {
    const { url, left } = await startHalf()
    const server = await start(to(url))
    const live = await server.ask()
    const id = idOf(live)
    await expect.poll(async () => (await server.resume.find(id))?.last).toBe(31)
    expect((await server.stop(id)).status).toBe(204)
    expect(failureOf(eventsIn(await live.text())).code).toBe('request_aborted')
    await left
    await expect.poll(() => server.ends).toMatchObject([{ outcome: 'aborted', upstreamsLeftRunning: 0 }])
  })

  test('by a request that stands behind the same guard, which reads no upstream', async () => {
    const { url, left } = await startHalf()
    const ends: StreamEnd[] = []
    const resume = createResume({ owner: false })
    const stop = resume.stop()
    const handler = byFetch.to(url)
    const guarded = wrapApp(
      (request, response) =>
        request.method === 'DELETE' ? stop(request, response) : handler(request, response),
      { resume, onEnd: (end) => ends.push(end) },
    )
    const server = await listen(guarded)
    closing.push(() => server[Symbol.asyncDispose]())
    const live = await fetch(server.url + chat, post)
    await expect.poll(async () => (await resume.find(idOf(live)))?.last).toBe(31)
    await fetch(`${server.url}/v1/streams/${idOf(live)}`, { method: 'DELETE' })
    await left
    await expect.poll(() => ends).toMatchObject([{ outcome: 'aborted', upstreamsLeftRunning: 0 }])
  })

  test('while the client is away', async () => {
    const { url, left } = await startHalf()
    const server = await start(byFetch.to(url))
    const id = await server.askAndLeave(5)
    expect((await server.stop(id)).status).toBe(204)
    await left
    await expect.poll(() => server.ends).toMatchObject([{ outcome: 'aborted', upstreamsLeftRunning: 0 }])
    expect(failureOf(eventsIn(await (await server.rejoin(id)).text())).code).toBe('request_aborted')
  })

  test('more than maxBytes that no client has read let the upstream go, too', async () => {
    const left = withResolvers()
    const upstream = await startUpstream(async (exchange) => {
      exchange.socket.on('close', () => left.resolve())
      exchange.open()
      for (let sent = 0; !exchange.socket.destroyed; sent++) {
        exchange.data(`${sent} ${'x'.repeat(1_000)}`)
        await new Promise((resolve) => setImmediate(resolve))
      }
    })
    closing.push(() => upstream[Symbol.asyncDispose]())
    const server = await start(byFetch.to(upstream.url), { maxBytes: 16 * 1024 })
    await server.askAndLeave(3)
    await left.promise
    await expect.poll(() => server.ends).toMatchObject([{ outcome: 'client_gone', upstreamsLeftRunning: 0 }])
    expect(server.ends[0]?.reason?.code).toBe('resume_full')
  })

  test.each<[string, GuardOptions['adopt'], number]>([
    ["onDisconnect: 'keep'", { onDisconnect: 'keep' }, 1],
    ["a function that returns 'keep'", { onDisconnect: () => 'keep' }, 1],
    ["a function that returns 'cancel'", { onDisconnect: () => 'cancel' }, 0],
    ['another option', { breakMs: 1_000 }, 0],
  ])('the word of the app on its calls goes first: %s', async (_word, adopt, upstreamsLeftRunning) => {
    const { url, left, upstream } = await startHalf()
    const server = await start(byFetch.to(url), { adopt })
    const live = await server.ask()
    expect((await server.stop(idOf(live))).status).toBe(204)
    expect(failureOf(eventsIn(await live.text())).code).toBe('request_aborted')
    await expect.poll(() => server.ends).toMatchObject([{ outcome: 'aborted', upstreamsLeftRunning }])
    if (upstreamsLeftRunning === 0) return left
    const kept = await upstream.exchange(0)
    // Another stream in between: a connection that was let go would be gone by then.
    const other = await server.ask()
    await server.stop(idOf(other))
    await other.text()
    expect(kept.socket.destroyed).toBe(false)
  })

  test('an upstream that another response is written from goes on for that one', async () => {
    const { url, upstream } = await startHalf()
    const second = withResolvers<http.ServerResponse>()
    const server = await start((request, response) => {
      response.writeHead(200, eventStream).write(': here\n\n')
      if (request.url === '/second') return second.resolve(response)
      http
        .request(url, { method: 'POST' }, async (answer) => {
          const joined = await second.promise
          joined.write(': from the first\n\n')
          answer.on('error', () => {})
          answer.on('data', (chunk) => {
            response.write(chunk)
            joined.write(chunk)
          })
          answer.on('end', () => joined.end())
        })
        .on('error', () => {})
        .end()
    })
    const first = await server.ask()
    const beside = await server.ask('/second')
    await expect.poll(async () => (await server.resume.find(idOf(beside)))?.last).toBe(31)
    expect((await server.stop(idOf(first))).status).toBe(204)
    expect(failureOf(eventsIn(await first.text())).code).toBe('request_aborted')
    await expect.poll(() => server.ends).toMatchObject([{ outcome: 'aborted', upstreamsLeftRunning: 1 }])
    ;(await upstream.exchange(0)).data(...events.slice(31)).end()
    expect(eventsIn(await beside.text())).toEqual(events)
  })
})
