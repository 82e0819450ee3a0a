import { EventEmitter, on } from 'node:events'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { GuardOptions } from '../../src/index.js'
import { chatAnswer, chatChunk, textOf } from '../support/chat.js'
import { guarded } from '../support/guarded.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'
import { eventStream, wire } from '../support/wire.js'
import { withResolvers } from '../support/with-resolvers.js'

const post = { method: 'POST', body: '{}' }
const cancel = { adopt: { onDisconnect: 'cancel' } } as const
const chunks = (body: unknown) => body as AsyncIterable<Uint8Array>

/** The call of a path, whichever comes first. */
async function callOf(upstream: Awaited<ReturnType<typeof startUpstream>>, path: string) {
  for (let index = 0; ; index++) {
    const exchange = await upstream.exchange(index)
    if (exchange.head.includes(path)) return exchange
  }
}

type Course = (first: ServerResponse, url: string, answer: IncomingMessage) => unknown

/**
 * The handler of /first writes what its upstream sends to the response of /second as well, which reads an upstream of its
 * own: nothing but that write says that both live on one upstream.
 */
async function oneForTwo(options: GuardOptions, { begin, next }: { begin?: Course; next?: Course } = {}) {
  const upstream = await startUpstream((exchange) => exchange.open())
  const second = withResolvers<ServerResponse>()
  let joined: ServerResponse | undefined
  void second.promise.then((response) => {
    joined = response
  })
  const server = await guarded(async ({ url }, response) => {
    response.writeHead(200, eventStream)
    if (url === '/second') {
      second.resolve(response)
      const { body } = await fetch(`${upstream.url}/second`, post)
      for await (const chunk of chunks(body)) response.write(chunk)
      return
    }
    http
      .request(`${upstream.url}/first`, { method: 'POST' }, async (answer) => {
        answer.on('error', () => {})
        answer.on('data', (chunk) => {
          response.write(chunk)
          joined?.write(chunk)
        })
        await begin?.(response, upstream.url, answer)
        ;(await second.promise).write(': from the first\n\n')
        await next?.(response, upstream.url, answer)
      })
      .on('error', () => {})
      .end()
  }, options)
  const first = rawRequest({ port: server.port, path: '/first', body: { stream: true } })
  const ofFirst = await upstream.exchange(0)
  ofFirst.data(chatChunk('Hel'))
  await first.received('Hel')
  const join = () => rawRequest({ port: server.port, path: '/second', body: { stream: true } })
  return {
    upstream,
    server,
    first,
    ofFirst,
    /** The second client comes, and has something of its own and of the first one's. */
    async join() {
      const client = join()
      ;(await callOf(upstream, '/second')).data(chatChunk('own'))
      return (await client.received('own')).received('from the first')
    },
    async [Symbol.asyncDispose]() {
      first.socket.destroy()
      await server[Symbol.asyncDispose]()
      await upstream[Symbol.asyncDispose]()
    },
  }
}

describe('an upstream whose chunks are written to another response as well', () => {
  test('goes on when its client leaves', async () => {
    await using run = await oneForTwo(cancel)
    using second = await run.join()
    run.first.reset()
    await expect.poll(() => run.server.ends).toHaveLength(1)
    expect(run.server.ends[0]).toMatchObject({ outcome: 'client_gone', upstreamsLeftRunning: 1 })
    run.ofFirst.data(chatChunk('lo'))
    await second.received('lo')
  })

  test('goes on when a deadline has ended its own response', async () => {
    const timeouts: GuardOptions['timeouts'] = ({ url }) =>
      url === '/first' ? { inactivityMs: 200 } : undefined
    await using run = await oneForTwo({ timeouts, adopt: { release: true, onDisconnect: 'keep' } })
    using second = await run.join()
    await run.first.finished()
    await expect.poll(() => run.server.ends).toMatchObject([{ outcome: 'timeout', upstreamsLeftRunning: 1 }])
    run.ofFirst.data(chatChunk('lo'))
    await second.received('lo')
  })

  test.each<[string, Course]>([
    ['fetch', (_first, url) => fetch(`${url}/more`, post)],
    [
      'http.request',
      (_first, url) => void http.request(`${url}/more`, { method: 'POST' }, (more) => more.resume()).end(),
    ],
  ])('a further call of its handler has no owner: %s', async (_client, next) => {
    await using run = await oneForTwo(cancel, { next })
    using _second = await run.join()
    const more = await callOf(run.upstream, '/more')
    more.data(chatChunk('more'))
    run.ofFirst.data(chatChunk('lo'))
    await run.first.received('lo')
    run.first.reset()
    await expect.poll(() => run.server.ends).toMatchObject([{ upstreamsLeftRunning: 1 }])
  })

  test.each<[string, Course, (run: Awaited<ReturnType<typeof oneForTwo>>) => unknown]>([
    ['that ends although its upstream goes on', (first) => first.end(), () => {}],
    [
      'that ends when its upstream resets',
      (first, _url, answer) => answer.once('error', () => first.end()),
      (run) => run.ofFirst.reset(),
    ],
  ])('says nothing of a response %s: only that it is not whole', async (_how, next, act) => {
    await using run = await oneForTwo({ adopt: { onDisconnect: 'keep' } }, { next })
    using _second = await run.join()
    await act(run)
    await run.first.finished()
    await expect.poll(() => run.server.ends).toMatchObject([{ outcome: 'upstream_truncated' }])
  })
})

describe('an upstream that breaks', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
  afterEach(() => void vi.useRealTimers())
  const later = (durationMs: number) => new Promise((resolve) => setTimeout(resolve, durationMs))
  const pass = async (durationMs: number) => {
    await vi.advanceTimersByTimeAsync(durationMs)
    for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate)
  }
  const end = async (first: ServerResponse) => {
    await later(20_000)
    first.end(wire(...chatAnswer('lo')))
  }

  test.each<[string, { begin?: Course; next: Course }]>([
    ['was', { next: end }],
    ['is, before its time is over,', { begin: () => later(3_000), next: end }],
  ])('ends no response, if it %s written to another one as well', async (when, course) => {
    await using run = await oneForTwo({ adopt: { onDisconnect: 'keep' } }, course)
    const comes = run.join()
    if (when === 'was') await comes
    await run.ofFirst.reset()
    await run.ofFirst.closed
    await pass(3_000)
    using _second = await comes
    await pass(16_000)
    expect(textOf(run.first.data)).toBe('Hel')
    expect(run.first.text).not.toContain('"error"')
    await pass(5_000)
    await run.first.finished()
    expect(textOf(run.first.data)).toBe('Hello')
    expect(run.server.ends).toMatchObject([{ outcome: 'completed' }])
  })
})

test('a deadline lets an upstream go that a response without one of its own may be reading, once that response has ended', async () => {
  await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')))
  const emitter = new EventEmitter()
  const timeouts: GuardOptions['timeouts'] = ({ url }) =>
    url === '/first' ? { inactivityMs: 200 } : undefined
  await using server = await guarded(
    async ({ url }, response) => {
      response.writeHead(200, eventStream).write(': here\n\n')
      if (url === '/first') {
        const { body } = await fetch(upstream.url, post)
        for await (const chunk of chunks(body)) {
          response.write(chunk)
          emitter.emit('chunk', chunk)
        }
      } else for await (const [chunk] of on(emitter, 'chunk')) response.write(chunk)
    },
    { timeouts, adopt: { release: true, onDisconnect: 'keep' } },
  )
  using guest = await rawRequest({ port: server.port, path: '/second', body: { stream: true } }).received(
    'here',
  )
  using first = await rawRequest({ port: server.port, path: '/first', body: { stream: true } }).finished()
  expect(textOf(first.data)).toBe('Hel')
  await expect.poll(() => server.ends).toMatchObject([{ outcome: 'timeout', upstreamsLeftRunning: 1 }])
  const exchange = await upstream.exchange(0)
  exchange.data(chatChunk('lo'))
  await guest.received('lo')
  guest.reset()
  await exchange.closed
})

test('a client that stops reading does not stop an upstream that another client reads, too', async () => {
  let answer: IncomingMessage | undefined
  const joins = withResolvers<ServerResponse>()
  let joined: ServerResponse | undefined
  await using upstream = await startUpstream(async (exchange) => {
    exchange.open()
    for (let sent = 0; !exchange.socket.destroyed; sent++) {
      exchange.chunk(wire(chatChunk(`${sent} ${'x'.repeat(30_000)}`)))
      if (exchange.socket.writableNeedDrain) await exchange.drained()
      else await new Promise(setImmediate)
    }
  })
  await using server = await guarded(
    async ({ url }, response) => {
      response.writeHead(200, eventStream)
      if (url === '/second') return joins.resolve(response)
      http
        .request(upstream.url, { method: 'POST' }, (given) => {
          answer = given
          given.on('data', (chunk) => {
            response.write(chunk)
            joined?.write(chunk)
          })
        })
        .on('error', () => {})
        .end()
      joined = await joins.promise
      joined.write(': from the first\n\n')
    },
    { adopt: { onDisconnect: 'keep' } },
  )
  using first = await rawRequest({ port: server.port, path: '/first', body: { stream: true } }).received(
    '0 xx',
  )
  first.socket.pause()
  await expect.poll(() => answer?.isPaused(), { timeout: 10_000 }).toBe(true)
  using second = await rawRequest({ port: server.port, path: '/second', body: { stream: true } })
  await second.received('from the first')
  await second.received('xxxxx')
  // From here on the first client's pace is no brake: the second one has as much as it reads.
  const before = second.text.length
  await expect.poll(() => second.text.length, { timeout: 10_000 }).toBeGreaterThan(before + 1_000_000)
})
