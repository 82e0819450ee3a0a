import { once } from 'node:events'
import { Agent, type IncomingMessage, request } from 'node:http'
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2'
import { type AddressInfo, connect } from 'node:net'
import { PassThrough } from 'node:stream'
import axios from 'axios'
import { Agent as UndiciAgent, request as undiciRequest } from 'undici'
import { describe, expect, test, vi } from 'vitest'
import { coordinatedSocketCleanup } from '../../src/index.js'
import { startUpstream } from '../support/scripted-upstream.js'

const reason = new Error('enough')

/** An upstream that has begun to answer, and goes no further by itself. */
const begun = () => startUpstream((exchange) => exchange.open().chunk('data: a\n\n'))

async function httpResponse(url: string): Promise<IncomingMessage> {
  const call = request(url).end()
  call.on('error', () => {})
  const [response] = await once(call, 'response')
  return response
}

const targets: Record<string, (url: string) => Promise<unknown>> = {
  'an IncomingMessage': httpResponse,
  'a ClientRequest with its answer': async (url) =>
    ((await httpResponse(url)) as IncomingMessage & { req: unknown }).req,
  'an axios response': (url) => axios.get(url, { responseType: 'stream' }),
  'an axios stream': async (url) => (await axios.get(url, { responseType: 'stream' })).data,
  'a Fetch response': (url) => fetch(url),
  'a Fetch body': async (url) => (await fetch(url)).body,
  'an undici response': (url) => undiciRequest(url),
  'an AbortController': async (url) => {
    const controller = new AbortController()
    void fetch(url, { signal: controller.signal })
      .then((response) => response.text())
      .catch(() => {})
    return controller
  },
  'a list of them': async (url) => [await httpResponse(url), await fetch(url)],
}

describe.each(Object.entries(targets))('%s', (_name, open) => {
  test('FM-30: is released once, however many ask: the same report for all, for ever', async () => {
    await using upstream = await begun()
    const target = await open(upstream.url)
    const exchange = await upstream.exchange(0)
    const first = coordinatedSocketCleanup(target, { reason })
    const second = coordinatedSocketCleanup(target, { reason: new Error('too late') })
    expect(second).toBe(first)
    expect(await first).toMatchObject({ closed: true, forced: false, errors: [] })
    await exchange.closed
    expect(coordinatedSocketCleanup(target)).toBe(first)
  })
})

describe('objects that stand for one exchange', () => {
  test('a response, its request and its stream are one', async () => {
    await using upstream = await begun()
    const response = await axios.get(upstream.url, { responseType: 'stream' })
    const cleanup = coordinatedSocketCleanup(response, { reason })
    expect(coordinatedSocketCleanup(response.data)).toBe(cleanup)
    expect(coordinatedSocketCleanup(response.request)).toBe(cleanup)
    await cleanup
  })

  test('a request without an answer is destroyed itself', async () => {
    await using upstream = await startUpstream(() => {})
    const call = request(upstream.url).end()
    const failed = once(call, 'error')
    const exchange = await upstream.exchange(0)
    expect(await coordinatedSocketCleanup(call, { reason })).toMatchObject({ via: 'destroy', closed: true })
    expect(await failed).toEqual([reason])
    await exchange.closed
  })

  test('a bare socket', async () => {
    await using upstream = await startUpstream(() => {})
    const socket = connect(upstream.port, '127.0.0.1')
    await once(socket, 'connect')
    expect(await coordinatedSocketCleanup(socket)).toMatchObject({ via: 'destroy', closed: true })
    expect(socket.destroyed).toBe(true)
  })

  test('an HTTP/2 stream; its session stays', async () => {
    const server = createHttp2Server((_request, response) => response.write('x')).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const session = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    const stream = session.request({ ':path': '/' })
    await once(stream, 'response')
    expect(await coordinatedSocketCleanup(stream, { reason })).toMatchObject({ via: 'destroy', closed: true })
    expect(session.destroyed).toBe(false)
    session.destroy()
    server.close()
  })

  test.each([undefined, null, {}, []])('%j is nothing to release', async (target) => {
    expect(await coordinatedSocketCleanup(target)).toMatchObject({ via: 'ended', closed: true })
  })

  test.each(['text', 7])('%j is refused', (target) => {
    expect(() => coordinatedSocketCleanup(target)).toThrow(`got ${JSON.stringify(target)}`)
  })
})

describe('a list', () => {
  test('of which a part was released before: the rest is not forgotten', async () => {
    await using upstream = await begun()
    const [a, b] = [await httpResponse(upstream.url), await httpResponse(upstream.url)]
    await coordinatedSocketCleanup(a, { reason })
    expect(await coordinatedSocketCleanup([a, b], { reason })).toMatchObject({ closed: true })
    await (await upstream.exchange(1)).closed
    expect(b.destroyed).toBe(true)
  })
})

describe('linger', () => {
  test.each<[string, (url: string) => Promise<unknown>]>([
    ['node:http', (url) => new Promise((resolve) => request(url, { agent }).on('response', resolve).end())],
    ['axios', (url) => axios.get(url, { responseType: 'stream', httpAgent: agent })],
    ['fetch', (url) => fetch(url)],
    ['undici', (url) => undiciRequest(url, { dispatcher })],
  ])('%s: an answer that ends by itself leaves its connection usable', async (_name, open) => {
    await using upstream = await startUpstream((exchange) => {
      exchange.open().chunk('data: [DONE]\n\n')
      setImmediate(() => exchange.end())
    })
    for (let times = 0; times < 3; times++) {
      const target = await open(upstream.url)
      expect(await coordinatedSocketCleanup(target, { lingerMs: 5_000 })).toMatchObject({
        via: 'linger',
        closed: true,
      })
    }
    // Not one was closed. (How soon a connection is free for the next call is the client's affair.)
    expect(upstream.openConnections).toBe(upstream.connections)
  })

  test('one that does not end is destroyed after lingerMs', async () => {
    await using upstream = await begun()
    const response = await httpResponse(upstream.url)
    expect(await coordinatedSocketCleanup(response, { lingerMs: 50 })).toMatchObject({
      via: 'destroy',
      closed: true,
    })
    await (await upstream.exchange(0)).closed
  })

  test('nor does one that goes on and on get its time', async () => {
    await using upstream = await startUpstream((exchange) => exchange.open().chunk('x'.repeat(200_000)))
    for (const open of [httpResponse, fetch]) {
      const response = await open(upstream.url)
      const report = await coordinatedSocketCleanup(response, { lingerMs: 60_000 })
      expect(report.closed).toBe(true)
      expect(report.via).not.toBe('linger')
    }
  })

  test('an answer that had ended before is left alone, with the socket that may serve another', async () => {
    await using upstream = await startUpstream((exchange) => exchange.answer('200 OK', 'x'))
    const pool = new Agent({ keepAlive: true, timeout: 5_000 })
    const response = await new Promise<IncomingMessage>((resolve) =>
      request(upstream.url, { agent: pool }).on('response', resolve).end(),
    )
    for await (const _ of response);
    expect(await coordinatedSocketCleanup(response, { reason })).toMatchObject({ via: 'ended' })
    expect(upstream.openConnections).toBe(1)
    pool.destroy()
  })
})

describe('cases beyond help', () => {
  test('a web stream that other code reads is reported as out of reach', async () => {
    await using upstream = await begun()
    const controller = new AbortController()
    const response = await fetch(upstream.url, { signal: controller.signal })
    response.body?.getReader()
    expect(await coordinatedSocketCleanup(response, { reason })).toMatchObject({
      via: 'unreachable',
      closed: false,
    })
    controller.abort()
  })

  test('a stream that does not close is reported, and never rejects', async () => {
    const stuck = new PassThrough({ destroy: () => {} })
    const destroy = vi.fn()
    Object.assign(stuck, { socket: { destroy, on: () => {} } })
    const report = await coordinatedSocketCleanup(stuck, { closeMs: 20 })
    expect(report).toMatchObject({ closed: false, forced: true })
    expect(destroy).toHaveBeenCalledOnce()
  })

  test('a complete answer that was never read, whose request is aborted, does not end the process', async () => {
    await using upstream = await startUpstream((exchange) => exchange.answer('200 OK', 'x'.repeat(100)))
    const controller = new AbortController()
    const call = request(upstream.url, { signal: controller.signal, agent }).end()
    call.on('error', () => {})
    const [response] = await once(call, 'response')
    await once(response, 'readable')
    controller.abort(reason)
    await coordinatedSocketCleanup(response, { reason })
    await new Promise(setImmediate)
  })

  test('a bad option is named', () => {
    expect(() => coordinatedSocketCleanup({}, { closeMs: 0 })).toThrow('cleanup.closeMs')
  })
})

const agent = new Agent({ keepAlive: true, timeout: 5_000, maxSockets: 1 })
const dispatcher = new UndiciAgent({ connections: 1 })
