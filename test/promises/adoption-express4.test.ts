import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { chatChunk } from '../support/chat.js'
import { startExpress4 } from '../support/express4-process.js'
import { freePort } from '../support/free-port.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'

const handlers: Record<string, string> = {
  'loops over fetch': `async (request, response) => {
    const upstream = await fetch(url, { method: 'POST' })
    response.setHeader('Content-Type', 'text/event-stream')
    for await (const chunk of upstream.body) response.write(chunk)
    response.end()
  }`,
  'pipes fetch': `async (request, response) => {
    const upstream = await fetch(url, { method: 'POST' })
    response.setHeader('Content-Type', 'text/event-stream')
    Readable.fromWeb(upstream.body).pipe(response)
  }`,
  'loops over axios': `async (request, response) => {
    const upstream = await axios.post(url, {}, { responseType: 'stream' })
    response.setHeader('Content-Type', 'text/event-stream')
    for await (const chunk of upstream.data) response.write(chunk)
    response.end()
  }`,
  'loops over undici': `async (request, response) => {
    const upstream = await undici.request(url, { method: 'POST' })
    response.setHeader('Content-Type', 'text/event-stream')
    for await (const chunk of upstream.body) response.write(chunk)
    response.end()
  }`,
  'pipes got': `(request, response) => {
    response.setHeader('Content-Type', 'text/event-stream')
    got.stream.post(url, { body: '{}', retry: { limit: 0 } }).pipe(response)
  }`,
}

describe('an app of Express 4 that catches nothing lives, in a process of its own', () => {
  test.each(Object.entries(handlers))('a handler that %s', async (_how, handler) => {
    await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')))
    await using app = await startExpress4(handler, upstream.url)
    // A client that leaves, and then a deadline: both let the upstream go.
    using leaving = await rawRequest({ port: app.port, body: { stream: true } }).received('Hel')
    leaving.reset()
    await (await upstream.exchange(0)).closed
    using waiting = await rawRequest({ port: app.port, body: { stream: true } }).finished()
    expect(waiting.bodyText).toContain('upstream_inactivity_timeout')
    await (await upstream.exchange(1)).closed
    using other = await rawRequest({ port: app.port, path: '/alive', method: 'GET' }).finished()
    expect(other.bodyText).toBe('yes')
    app.process.kill('SIGTERM')
    expect(await once(app.process, 'exit')).toEqual([null, 'SIGTERM'])
  })
})

describe('superagent’s .pipe throws by itself when its upstream ends too early, and the process ends', () => {
  const pipes = `(request, response) => {
    response.setHeader('Content-Type', 'text/event-stream')
    superagent.post(url).send({}).pipe(response)
  }`

  test.each([false, true])('an upstream that breaks, guarded: %s', async (isGuarded) => {
    await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')))
    await using app = await startExpress4(pipes, upstream.url, { isGuarded })
    using _client = await rawRequest({ port: app.port, body: { stream: true } }).received('Hel')
    const ended = once(app.process, 'close')
    await (await upstream.exchange(0)).reset()
    expect(await ended).toEqual([1, null])
    expect(app.errors).toContain('Error: aborted')
  })

  test('so it does where the guard cancels it for a client that has left', async () => {
    await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')))
    await using app = await startExpress4(pipes, upstream.url)
    using client = await rawRequest({ port: app.port, body: { stream: true } }).received('Hel')
    const ended = once(app.process, 'close')
    client.reset()
    await (await upstream.exchange(0)).closed
    expect(await ended).toEqual([1, null])
    expect(app.errors).toContain('Error: aborted')
  })
})

describe('http.request, where the upstream refuses the connection', () => {
  const calls = (listener: string) => `(request, response) => {
    const call = http.request(url, { method: 'POST' }, (upstream) => {
      response.setHeader('Content-Type', 'text/event-stream')
      upstream.on('data', (chunk) => response.write(chunk))
      upstream.on('end', () => response.end())
    })
    ${listener}
    call.end('{}')
  }`
  const route = `createStreamMiddleware(async ({ relay }) => {
    await relay(await new Promise((resolve) => http.request(url, { method: 'POST' }, resolve).end('{}')))
  })`

  test.each<[string, string, boolean]>([
    ['a handler', calls(''), false],
    ['a guarded handler', calls(''), true],
    ['a streaming route', route, false],
  ])('without an error listener it ends the process: %s', async (_what, handler, isGuarded) => {
    await using app = await startExpress4(handler, `http://127.0.0.1:${await freePort()}`, { isGuarded })
    const ended = once(app.process, 'close')
    using client = await rawRequest({ port: app.port, body: { stream: true } }).closed()
    expect(await ended).toEqual([1, null])
    expect(app.errors).toContain('ECONNREFUSED')
    expect(client.text).toBe('')
  })

  test('with the listener of docs/GUARD.md, the client gets a status and a JSON error', async () => {
    const handler = calls("call.on('error', (error) => response.destroy(error))")
    await using app = await startExpress4(handler, `http://127.0.0.1:${await freePort()}`)
    using client = await rawRequest({ port: app.port, body: { stream: true } }).finished()
    expect(client.status).toBe(503)
    expect(client.json.error.code).toBe('upstream_unreachable')
  })
})

describe('a handler that has called next, and rejects then', () => {
  const handler = (first = '') => `(${first} async (request, response, next) => {
    next()
    await new Promise(setImmediate)
    throw Object.assign(new Error('audit failed'), { apiKey: 'secret' })
  }), (request, response) => response.json({ fine: true })`

  test.each([{}, { stream: true }])('is printed, and the process lives: %j', async (body) => {
    await using app = await startExpress4(handler(), '')
    using client = await rawRequest({ port: app.port, body }).finished()
    expect(client.json).toEqual({ fine: true })
    await expect.poll(() => app.errors).toMatch(/^unhang: .*audit failed\n {4}at /)
    expect(app.errors).not.toContain('secret')
    using other = await rawRequest({ port: app.port, path: '/alive', method: 'GET' }).finished()
    expect(other.bodyText).toBe('yes')
  })

  test.each([true, false])("is heard by the app's own listener, guarded: %s", async (isGuarded) => {
    const listener = `process.on('unhandledRejection', ({ message }) => console.error('heard', message)),`
    await using app = await startExpress4(handler(listener), '', { isGuarded })
    using client = await rawRequest({ port: app.port, body: {} }).finished()
    expect(client.json).toEqual({ fine: true })
    await expect.poll(() => app.errors).toBe('heard audit failed\n')
  })

  test('says nothing, if it has passed the same error on by itself', async () => {
    const both = `(request, response, next) => {
      const work = Promise.reject(new Error('bug'))
      work.catch(next)
      return work
    }, (error, request, response, next) => response.json({ error: error.message })`
    await using app = await startExpress4(both, '')
    using client = await rawRequest({ port: app.port, body: {} }).finished()
    expect(client.json).toEqual({ error: 'bug' })
    using _other = await rawRequest({ port: app.port, path: '/alive', method: 'GET' }).finished()
    expect(app.errors).toBe('')
  })
})
