import { once } from 'node:events'
import http, { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { Writable } from 'node:stream'
import { describe, expect, test, vi } from 'vitest'
import { AdoptedCalls } from '../../src/guard/adopted-calls.js'
import { BrokenCalls } from '../../src/guard/broken-calls.js'
import { wrapApp } from '../../src/index.js'
import { chatAnswer, chatChunk } from '../support/chat.js'
import { guarded } from '../support/guarded.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'
import { eventStream, wire } from '../support/wire.js'
import { withResolvers } from '../support/with-resolvers.js'

const post = { method: 'POST', body: '{}' }
const cancel = { adopt: { onDisconnect: 'cancel' } } as const
const chunks = (body: unknown) => body as AsyncIterable<Uint8Array>

/**
 * The handler of /first loops over an upstream, that of /guest follows the test. The upstream says nothing by itself.
 *
 * @param isGuest how the second handler behaves: it may be reading the upstream that the first one has opened
 */
async function withGuest(isGuest: (response: ServerResponse, url: string) => unknown) {
  let firstEnded = false
  let chunksRead = 0
  const upstream = await startUpstream(() => {})
  const server = await guarded(async ({ url }, response) => {
    if (url === '/guest') return isGuest(response, upstream.url)
    const { body } = await fetch(`${upstream.url}/first`, post)
    response.writeHead(200, eventStream)
    try {
      for await (const chunk of chunks(body)) {
        response.write(chunk)
        chunksRead++
      }
    } finally {
      firstEnded = true
    }
  }, cancel)
  const first = rawRequest({ port: server.port, path: '/first', body: { stream: true } })
  const ofFirst = await upstream.exchange(0)
  ofFirst.open().data(chatChunk('Hel'))
  await first.received('Hel')
  return {
    upstream,
    server,
    ofFirst,
    /** Whether its handler has read all of it. */
    get firstEnded() {
      return firstEnded
    },
    guest: () => rawRequest({ port: server.port, path: '/guest', body: { stream: true } }),
    /** New bytes of the upstream still come to the handler whose client has left. */
    async isKept() {
      const before = chunksRead
      ofFirst.data(chatChunk('more'))
      await expect.poll(() => chunksRead).toBe(before + 1)
    },
    /** The first client leaves. */
    async leave() {
      first.reset()
      await expect.poll(() => server.ends.map(({ outcome }) => outcome)).toContain('client_gone')
    },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
      await upstream[Symbol.asyncDispose]()
    },
  }
}

const here = (response: ServerResponse) => response.writeHead(200, eventStream).write(': here\n\n')

/** The act of a guest that has begun its response, and ends it then. */
const until = (ending: Promise<void>) => async (response: ServerResponse) => {
  here(response)
  await ending
  response.end(wire(...chatAnswer('Hi')))
}

describe('an upstream whose client has left while another response may be reading it', () => {
  test('goes when that response has ended', async () => {
    const ending = withResolvers<void>()
    await using run = await withGuest(until(ending.promise))
    using guest = await run.guest().received('here')
    await run.leave()
    await run.isKept()
    ending.resolve()
    await guest.finished()
    await run.ofFirst.closed
  })

  test('goes when that response reads an upstream of its own, from the headers on', async () => {
    await using run = await withGuest(async (response, url) => {
      here(response)
      for await (const chunk of chunks((await fetch(`${url}/guest`, post)).body)) response.write(chunk)
    })
    using guest = await run.guest().received('here')
    const own = await run.upstream.exchange(1)
    await run.leave()
    await run.isKept()
    own.open().data(chatChunk('own'))
    await guest.received('own')
    await run.ofFirst.closed
  })

  test('goes at once, if that response waits for its first call and has written nothing', async () => {
    await using run = await withGuest((_response, url) => fetch(`${url}/guest`, post))
    using _guest = run.guest()
    await run.upstream.exchange(1)
    await run.leave()
    await run.ofFirst.closed
  })

  test('goes at once, if that response has ended, and only its client is slow', async () => {
    const ended = withResolvers<void>()
    await using run = await withGuest((response) => {
      here(response)
      // More than the systems at both ends hold.
      response.end(wire(...chatAnswer('x'.repeat(16_000_000))), () => {})
      ended.resolve()
    })
    using guest = run.guest()
    guest.socket.pause()
    await ended.promise
    await run.leave()
    await run.ofFirst.closed
  })
})

test('a call whose client has left before its headers came is let go when they come', async () => {
  await using upstream = await startUpstream(() => {})
  await using server = await guarded(async (_request, response) => {
    here(response)
    await fetch(upstream.url, post)
  }, cancel)
  using client = await rawRequest({ port: server.port, body: { stream: true } }).received('here')
  const exchange = await upstream.exchange(0)
  client.reset()
  await expect.poll(() => server.ends).toHaveLength(1)
  expect(exchange.socket.destroyed).toBe(false)
  exchange.open()
  await exchange.closed
})

describe('a call that is begun after the client has left has no owner', () => {
  const calls: Record<string, (url: string) => Promise<AsyncIterable<Uint8Array>>> = {
    fetch: async (url) => chunks((await fetch(url, post)).body),
    'http.request': (url) => new Promise((resolve) => http.request(url, { method: 'POST' }, resolve).end()),
  }
  test.each(Object.entries(calls))('%s', async (_client, call) => {
    let text = ''
    await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')))
    await using server = await guarded(async (_request, response) => {
      here(response)
      await once(response, 'close')
      for await (const chunk of await call(upstream.url)) text += Buffer.from(chunk)
      text += 'all of it'
    }, cancel)
    using client = await rawRequest({ port: server.port, body: { stream: true } }).received('here')
    client.reset()
    const exchange = await upstream.exchange(0)
    await expect.poll(() => text).toContain('Hel')
    exchange.data(...chatAnswer('lo')).end()
    await expect.poll(() => text).toContain('all of it')
  })
})

test('the app is asked once about an upstream whose client has left', async () => {
  let asked = 0
  const onDisconnect = () => {
    asked++
    return 'cancel' as const
  }
  await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')))
  await using server = await guarded(
    async (_request, response) => {
      const { body } = await fetch(upstream.url, post)
      response.writeHead(200, eventStream)
      for await (const chunk of chunks(body)) response.write(chunk)
    },
    { adopt: { onDisconnect } },
  )
  using client = await rawRequest({ port: server.port, body: { stream: true } }).received('Hel')
  client.reset()
  await (await upstream.exchange(0)).closed
  await expect.poll(() => server.ends).toHaveLength(1)
  expect(asked).toBe(1)
})

test.each(['has ended', 'has broken'])(
  'an upstream that %s by itself after its client left is waited for no more',
  async (how) => {
    const cancelling = vi.spyOn(AdoptedCalls.prototype, 'cancelUnlessRead')
    const ending = withResolvers<void>()
    await using run = await withGuest(until(ending.promise))
    using guest = await run.guest().received('here')
    await run.leave()
    expect(cancelling).toHaveBeenCalledTimes(1)
    const breaking = vi.spyOn(BrokenCalls.prototype, 'add')
    if (how === 'has ended') run.ofFirst.data('[DONE]').end()
    else await run.ofFirst.reset()
    await expect.poll(() => run.firstEnded).toBe(true)
    ending.resolve()
    await guest.finished()
    await expect.poll(() => run.server.ends).toHaveLength(2)
    expect(cancelling).toHaveBeenCalledTimes(1)
    // A response that is over has no client to which a break could be reported.
    expect(breaking).not.toHaveBeenCalled()
    vi.restoreAllMocks()
  },
)

test('an upstream that has sent all of it is not cancelled: a handler that is slow has the rest', async () => {
  let answer: IncomingMessage | undefined
  const saved = withResolvers<string>()
  await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')))
  await using server = await guarded((_request, response) => {
    response.writeHead(200, eventStream)
    http
      .request(upstream.url, { method: 'POST' }, (given) => {
        answer = given
        let text = ''
        given.on('data', (chunk) => {
          text += chunk
          response.write(chunk)
        })
        given.once('data', () => given.pause()).on('close', () => saved.resolve(text))
      })
      .end()
  }, cancel)
  using client = await rawRequest({ port: server.port, body: { stream: true } }).received('Hel')
  ;(await upstream.exchange(0)).data(...chatAnswer('lo')).end()
  await expect.poll(() => answer?.complete).toBe(true)
  client.reset()
  await expect.poll(() => server.ends).toMatchObject([{ outcome: 'client_gone', upstreamsLeftRunning: 0 }])
  answer?.resume()
  expect(await saved.promise).toContain('[DONE]')
})

test.each(['POST', 'GET'])(
  'a response to %s made by hand, which never says that it is closed, is waited for until it has ended',
  async (method) => {
    await using run = await withGuest(() => {})
    const request = Object.assign(new IncomingMessage(new Socket()), { method, url: '/' })
    const response = new ServerResponse(request)
    response.assignSocket(new Writable({ write: (_chunk, _encoding, done) => done() }) as Socket)
    wrapApp(() => {})(request, response)
    await run.leave()
    await run.isKept()
    response.setHeader('Content-Type', 'application/json').end('{}')
    await run.ofFirst.closed
  },
)
