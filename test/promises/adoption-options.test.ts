import { AsyncLocalStorage } from 'node:async_hooks'
import diagnostics from 'node:diagnostics_channel'
import http, { type IncomingMessage } from 'node:http'
import express from 'express'
import { describe, expect, test, vi } from 'vitest'
import { guardStreams } from '../../src/adapters/express.js'
import { log } from '../../src/diagnostics/channels.js'
import { type GuardOptions, type StreamEnd, unadopted, wrapApp } from '../../src/index.js'
import { chatAnswer, chatChunk, failureOf, textOf } from '../support/chat.js'
import { guarded, type Handler } from '../support/guarded.js'
import { listen } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { type Script, startUpstream } from '../support/scripted-upstream.js'
import { expectWarning } from '../support/warnings.js'
import { eventStream } from '../support/wire.js'
import { withResolvers } from '../support/with-resolvers.js'

const begun: Script = (exchange) => exchange.open().data(chatChunk('Hel'))
const post = { method: 'POST', body: '{}' }
const chunks = (response: Response) => response.body as unknown as AsyncIterable<Uint8Array>

/** A proxy that forwards each chunk, and keeps it. */
const saving =
  (url: string, saved: (text: string) => void = () => {}): Handler =>
  async (_request, response) => {
    const upstream = await fetch(url, post)
    response.writeHead(200, eventStream)
    let text = ''
    for await (const chunk of chunks(upstream)) {
      text += Buffer.from(chunk)
      response.write(chunk)
    }
    response.end()
    saved(text)
  }

describe('refused by name and value, when the app is built', () => {
  test.each<[unknown, string]>([
    [true, 'adopt must be false, an object or a function, got true'],
    [{ onDisconnect: 'stop' }, `adopt.onDisconnect must be 'keep', 'cancel' or a function, got "stop"`],
    [{ release: 'yes' }, 'adopt.release must be true or false, got "yes"'],
    [{ breakMs: 0 }, 'adopt.breakMs must be a number of milliseconds above 0'],
    [{ breakMS: 1 }, 'adopt.breakMS is not an option; did you mean breakMs?'],
  ])('%j', (adopt, message) => {
    expect(() => wrapApp(() => {}, { adopt } as GuardOptions)).toThrow(message)
  })

  test('unadopted(work) takes a function', () => {
    expect(() => unadopted('work' as never)).toThrow('unadopted(work): work must be a function, got "work"')
    expect(unadopted(() => 7)).toBe(7)
  })
})

test('a client that leaves: an answer that is saved at its end is saved, and one line names the option', async () => {
  const named = expectWarning(/a client has left.*onDisconnect: 'cancel'/)
  const saved = withResolvers<string>()
  await using upstream = await startUpstream(begun)
  await using server = await guarded(saving(upstream.url, saved.resolve))
  using client = await rawRequest({ port: server.port, body: { stream: true } }).received('Hel')
  client.reset()
  await named
  ;(await upstream.exchange(0)).data(...chatAnswer('lo')).end()
  expect(await saved.promise).toContain('[DONE]')
  expect(server.ends).toMatchObject([{ outcome: 'client_gone', upstreamsLeftRunning: 1 }])
})

test.each<[string, GuardOptions['adopt'], 'kept' | 'cancelled']>([
  ['a function of the request that refuses', () => false, 'kept'],
  [
    'a function of the request',
    ({ url }) => (url === '/v1/chat/completions' ? { onDisconnect: 'cancel' } : false),
    'cancelled',
  ],
  [
    'onDisconnect as a function',
    { onDisconnect: (request: IncomingMessage) => (request.headers.host ? 'cancel' : 'keep') },
    'cancelled',
  ],
  ['false', false, 'kept'],
])('%s', async (_form, adopt, wanted) => {
  const saved = withResolvers<string>()
  await using upstream = await startUpstream(begun)
  await using server = await guarded(saving(upstream.url, saved.resolve), { adopt })
  using client = await rawRequest({ port: server.port, body: { stream: true } }).received('Hel')
  client.reset()
  const exchange = await upstream.exchange(0)
  await expect.poll(() => server.ends).toHaveLength(1)
  expect(server.ends[0]).toMatchObject({ outcome: 'client_gone', upstreamsLeftRunning: 0 })
  if (wanted === 'cancelled') {
    await exchange.closed
    return
  }
  exchange.data(...chatAnswer('lo')).end()
  expect(await saved.promise).toContain('[DONE]')
})

describe('a call whose response is not a stream is never touched', () => {
  const clients: Record<string, (url: string) => Promise<AsyncIterable<Uint8Array>>> = {
    fetch: async (url) => chunks(await fetch(url, post)),
    'http.request': (url) =>
      new Promise((resolve) => http.request(url, { method: 'POST' }, resolve as never).end()),
  }
  const responses: Record<string, [type: string, status: string]> = {
    'a file': ['application/octet-stream', '200 OK'],
    'an error that comes as events': ['text/event-stream', '503 Service Unavailable'],
  }
  const cases = Object.keys(clients).flatMap((client) =>
    Object.keys(responses).map((what): [string, string] => [client, what]),
  )
  test.each(cases)('%s: %s', async (client, what) => {
    const saved = withResolvers<string>()
    const [type, status] = responses[what] as [string, string]
    await using upstream = await startUpstream((exchange) =>
      exchange.open(`Content-Type: ${type}`, status).chunk('begun '),
    )
    await using server = await guarded(
      async (_request, response) => {
        let text = ''
        response.writeHead(200, eventStream)
        for await (const chunk of await (clients[client] as (typeof clients)['fetch'])(upstream.url)) {
          text += Buffer.from(chunk)
          response.write(': more\n\n')
        }
        saved.resolve(text)
      },
      { adopt: { onDisconnect: 'cancel' } },
    )
    using leaving = await rawRequest({ port: server.port, body: { stream: true } }).received(': more')
    leaving.reset()
    await expect.poll(() => server.ends).toMatchObject([{ outcome: 'client_gone', upstreamsLeftRunning: 0 }])
    ;(await upstream.exchange(0)).chunk('ended').end()
    expect(await saved.promise).toBe('begun ended')
  })
})

test('a function that fails costs no client its stream', async () => {
  const warned = expectWarning(/adopt\(request\) failed, the defaults are used: Error: broken/)
  await using upstream = await startUpstream((exchange) =>
    exchange
      .open()
      .data(...chatAnswer('Hello'))
      .end(),
  )
  await using server = await guarded(saving(upstream.url), {
    adopt: () => {
      throw new Error('broken')
    },
  })
  using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
  await warned
  expect(textOf(client.data)).toBe('Hello')
})

test('the options of a guard inside go first', async () => {
  await using upstream = await startUpstream(begun)
  const app = express().use(guardStreams({ adopt: { breakMs: 9_000 } }))
  app.post(
    '/v1/chat/completions',
    guardStreams({ adopt: { onDisconnect: 'cancel' } }),
    saving(upstream.url) as never,
  )
  await using server = await listen(app as never)
  using client = await rawRequest({ port: server.port, body: { stream: true } }).received('Hel')
  client.reset()
  await (await upstream.exchange(0)).closed
})

test.each<[string, GuardOptions['adopt']]>([
  ['false', false],
  ['a function', () => ({ onDisconnect: 'keep' })],
])('a guard inside that says %s is believed, whatever the outer one says', async (_what, adopt) => {
  const saved = withResolvers<string>()
  await using upstream = await startUpstream(begun)
  const ends: StreamEnd[] = []
  const onEnd = (end: StreamEnd) => ends.push(end)
  const app = express().use(guardStreams({ adopt: { onDisconnect: 'cancel' }, onEnd }))
  app.post('/v1/chat/completions', guardStreams({ adopt }), saving(upstream.url, saved.resolve) as never)
  await using server = await listen(app as never)
  using client = await rawRequest({ port: server.port, body: { stream: true } }).received('Hel')
  client.reset()
  await expect.poll(() => ends).toMatchObject([{ outcome: 'client_gone' }])
  ;(await upstream.exchange(0)).data(...chatAnswer('lo')).end()
  expect(await saved.promise).toContain('[DONE]')
})

describe('a background job that a handler starts before its response ends', () => {
  test.each<[string, (job: () => Promise<string>) => Promise<string>]>([
    ['is not cancelled with it by default', (job) => job()],
    ['is not cancelled if it is hidden', (job) => unadopted(job)],
  ])('%s', async (which, start) => {
    const jobs: Promise<string>[] = []
    await using upstream = await startUpstream(begun)
    const adopt = which.includes('hidden')
      ? ({ onDisconnect: 'cancel' } as const)
      : ({ onDisconnect: 'keep' } as const)
    await using server = await guarded(
      async (_request, response) => {
        const job = async () => {
          let title = ''
          for await (const chunk of chunks(await fetch(upstream.url, post))) title += Buffer.from(chunk)
          return title
        }
        jobs.push(start(job))
        response.writeHead(200, eventStream).write('data: {}\n\n')
        await new Promise((resolve) => response.once('close', resolve))
      },
      { adopt },
    )
    using client = await rawRequest({ port: server.port, body: { stream: true } }).received('data: {}')
    const exchange = await upstream.exchange(0)
    client.reset()
    await expect.poll(() => server.ends).toHaveLength(1)
    exchange.data(...chatAnswer('lo')).end()
    expect(await jobs[0]).toContain('[DONE]')
  })
})

test('a deadline lets the upstream go only with release: true, and says so otherwise', async () => {
  for (const release of [undefined, true]) {
    const said = vi.spyOn(log, 'cleanup')
    await using upstream = await startUpstream(begun)
    const options = { timeouts: { inactivityMs: 100 }, adopt: { release } }
    await using server = await guarded(saving(upstream.url), options)
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(failureOf(client.data).code).toBe('upstream_inactivity_timeout')
    const { closed, socket } = await upstream.exchange(0)
    if (release) await closed
    await expect.poll(() => server.ends).toHaveLength(1)
    expect(socket.destroyed).toBe(release === true)
    const { requestId, upstreamsLeftRunning } = server.ends[0] as StreamEnd
    expect(upstreamsLeftRunning).toBe(release ? 0 : 1)
    const line = ['%s: upstream calls of the handler that go on: %d', requestId, 1]
    if (release) expect(said).not.toHaveBeenCalledWith(...line)
    else expect(said).toHaveBeenCalledWith(...line)
    said.mockRestore()
  }
})

test('the app’s own async contexts work as before, and events of the request keep ours', async () => {
  const own = new AsyncLocalStorage<string>()
  await using upstream = await startUpstream(begun)
  const inside = saving(upstream.url)
  const handler: Handler = (request, response) => {
    // As OpenTelemetry does: it puts itself in front of emit.
    const { emit } = request
    request.emit = (...args: unknown[]) => own.run('traced', () => emit.apply(request, args as never))
    request.on('end', () => {
      expect(own.getStore()).toBe('traced')
      void Promise.resolve(inside(request, response)).catch(() => {})
    })
    request.resume()
  }
  await using server = await guarded(handler, { adopt: { onDisconnect: 'cancel' } })
  using client = await rawRequest({ port: server.port, body: { stream: true } }).received('Hel')
  client.reset()
  await (await upstream.exchange(0)).closed
})

describe('heads that are not an answer', () => {
  test.each<[string, Script]>([
    [
      'a redirect',
      (exchange) =>
        exchange.head.startsWith('POST / ')
          ? exchange.raw('HTTP/1.1 307 Temporary Redirect\r\nLocation: /moved\r\nContent-Length: 0\r\n\r\n')
          : begun(exchange),
    ],
    [
      '102 and 103',
      (exchange) => {
        exchange.raw(
          'HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n',
        )
        return begun(exchange)
      },
    ],
  ])('%s', async (_which, script) => {
    await using upstream = await startUpstream(script)
    await using server = await guarded(saving(upstream.url), { adopt: { onDisconnect: 'cancel' } })
    using client = await rawRequest({ port: server.port, body: { stream: true } }).received('Hel')
    client.reset()
    await upstream.exchanges.at(-1)?.closed
    await expect.poll(() => server.ends).toHaveLength(1)
    expect(server.ends[0]?.upstreamsLeftRunning).toBe(0)
  })
})

test('nothing is watched for requests that ask for no stream', async () => {
  vi.resetModules()
  const key = Symbol.for('unhang.adopt.v1')
  const before = Reflect.get(globalThis, key)
  Reflect.deleteProperty(globalThis, key)
  try {
    const fresh = await import('../../src/index.js')
    await using server = await listen(fresh.wrapApp((_request, response) => response.end('{}')))
    using get = await rawRequest({ port: server.port, method: 'GET', path: '/' }).finished()
    expect(get.bodyText).toBe('{}')
    expect(Reflect.has(globalThis, key)).toBe(false)
    using client = await rawRequest({ port: server.port, body: {} }).finished()
    expect(client.bodyText).toBe('{}')
    expect(Reflect.has(globalThis, key)).toBe(true)
  } finally {
    Reflect.set(globalThis, key, before)
  }
})

test('two copies of unhang share one subscription', async () => {
  const key = Symbol.for('unhang.adopt.v1')
  const before = Reflect.get(globalThis, key)
  Reflect.deleteProperty(globalThis, key)
  const subscribe = vi.spyOn(diagnostics, 'subscribe')
  try {
    vi.resetModules()
    const inner = await import('../../src/index.js')
    vi.resetModules()
    const outer = await import('../../src/index.js')
    expect(outer.wrapApp).not.toBe(inner.wrapApp)
    await using upstream = await startUpstream(begun)
    const ends: StreamEnd[] = []
    const options = { adopt: { onDisconnect: 'cancel' }, onEnd: (end: StreamEnd) => ends.push(end) } as const
    await using server = await listen(outer.wrapApp(inner.wrapApp(saving(upstream.url), {}), options))
    // One behind both, and one behind the other copy alone.
    await using alone = await listen(
      inner.wrapApp(saving(upstream.url), { adopt: { onDisconnect: 'cancel' } }),
    )
    for (const [index, { port }] of [server, alone].entries()) {
      using client = await rawRequest({ port, body: { stream: true } }).received('Hel')
      client.reset()
      await (await upstream.exchange(index)).closed
    }
    await expect.poll(() => ends).toHaveLength(1)
    expect(ends[0]?.upstreamsLeftRunning).toBe(0)
    const channels = subscribe.mock.calls.map(([name]) => String(name))
    expect(channels).toContain('undici:request:create')
    expect(channels).toContain('http.client.response.finish')
    expect(channels).toEqual([...new Set(channels)])
  } finally {
    subscribe.mockRestore()
    Reflect.set(globalThis, key, before)
  }
})
