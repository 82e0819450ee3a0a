import { once } from 'node:events'
import { Agent, createServer, request, type Server, type ServerResponse } from 'node:http'
import { createServer as createHttp2Server } from 'node:http2'
import { type AddressInfo, createServer as createNetServer } from 'node:net'
import { Readable } from 'node:stream'
import express from 'express'
import Koa3 from 'koa'
import Koa2 from 'koa2'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as forExpress from '../../src/adapters/express.js'
import * as forKoa from '../../src/adapters/koa.js'
import * as unhang from '../../src/index.js'
import * as testing from '../../src/testing/index.js'
import { expressVersions } from '../support/express-versions.js'

// The first tries of a newcomer: each works, or the message holds the right form. The types would refuse most of them.
// biome-ignore lint/suspicious/noExplicitAny: as it is in JavaScript
type Any = any
const library: Any = { ...unhang, ...testing }
const onExpress: Any = forExpress
const onKoa: Any = forKoa

let server: Server
let client: Agent
beforeAll(async () => {
  server = createServer().listen(0, '127.0.0.1')
  client = new Agent()
  await once(server, 'listening')
})
afterAll(() => {
  client.destroy()
  server.closeAllConnections()
  server.close()
})

/** A response whose client waits for it, and the bytes that the client has received in the end. */
async function answer(): Promise<{ response: ServerResponse; received: Promise<string> }> {
  const { port } = server.address() as AddressInfo
  const coming = once(server, 'request')
  const call = request({ port, agent: client, method: 'POST', path: '/v1/chat/completions' })
  const received = once(call, 'response').then(async ([incoming]) => {
    let text = ''
    for await (const chunk of incoming) text += chunk
    return text
  })
  received.catch(() => {})
  call.on('error', () => {}).end()
  const [, response] = (await coming) as [unknown, ServerResponse]
  return { response, received }
}

type Try = [typed: string, attempt: (response: ServerResponse) => unknown, message: string]

function areRefused(tries: Try[]): void {
  test.each(tries)('%s', async (_typed, attempt, message) => {
    const { response } = await answer()
    const tried = (async () => attempt(response))()
    await expect(tried).rejects.toBeInstanceOf(TypeError)
    await expect(tried).rejects.toThrow(message)
    response.destroy()
  })
}

const upstream = () =>
  Readable.from(['data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n', 'data: [DONE]\n\n'])
const call = () => request('http://127.0.0.1:1').on('error', () => {})
const hangUp = Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' })

describe('works', () => {
  test("timeouts: 'advanced'", async () => {
    const { response, received } = await answer()
    const handler = ({ relay }: unhang.StreamContext) => relay(upstream())
    const end = await unhang.handleStream(response, handler, { timeouts: 'advanced' })
    expect(end.outcome).toBe('completed')
    expect(await received).toContain('[DONE]')
    expect(() => forExpress.guardStreams({ timeouts: 'advanced' })).not.toThrow()
    expect(() => forKoa.createStreamMiddleware(handler, { timeouts: () => 'advanced' })).not.toThrow()
  })

  test("new TimeoutCoordinator('advanced')", () => {
    using timeouts = new unhang.TimeoutCoordinator('advanced')
    expect(timeouts.timeouts).toEqual(unhang.timeoutProfiles.advanced)
    using filledUp = new unhang.TimeoutCoordinator({ inactivityMs: 1 }, { defaults: 'advanced' })
    expect(filledUp.timeouts).toEqual({ ...unhang.timeoutProfiles.advanced, inactivityMs: 1 })
  })

  test("relayEventStream(…, { dialect: 'openaiChat' })", async () => {
    const { response, received } = await answer()
    const writer = unhang.createSSEWriter(response)
    const result = await unhang.relayEventStream(upstream(), writer, { dialect: 'openaiChat' })
    writer.close()
    expect(result).toEqual({ received: 2, sawTerminal: true })
    expect(await received).toContain('"content":"Hi"')
  })

  test("writer.write('hello'), writer.close('[DONE]'), writer.closed", async () => {
    const { response, received } = await answer()
    const writer = unhang.createSSEWriter(response)
    await writer.write('hello')
    expect(writer.closed).toBe(false)
    writer.close('[DONE]')
    expect(writer.closed).toBe(true)
    expect(await received).toBe('data: hello\n\ndata: [DONE]\n\n')
  })

  test("writer.close('[DONE]') in a route: the stream is complete", async () => {
    const { response, received } = await answer()
    const end = await unhang.handleStream(response, ({ writer }) => {
      writer.write({ data: { choices: [{ delta: { content: 'Hi' } }] } })
      writer.close('[DONE]')
    })
    expect(end).toMatchObject({ outcome: 'completed', sawTerminal: true })
    expect(await received).toContain('data: [DONE]\n\n')
  })

  test('an option that is undefined is not set, everywhere', async () => {
    const u = undefined
    const streams = {
      timeouts: u,
      writer: {
        heartbeatMs: u,
        heartbeat: u,
        framing: u,
        headersAfterMs: u,
        maxBufferedBytes: u,
        headers: u,
        cors: u,
      },
      relay: { maxEventBytes: u, onTruncated: u },
      cleanup: { closeMs: u, lingerMs: u },
      dialect: u,
      doneAfterError: u,
      reportErrors: u,
      exposeUpstreamErrors: u,
      advancedModels: u,
      onEnd: u,
    }
    const hints = { paths: u, userAgents: u }
    forExpress.guardStreams({ ...streams, when: u, detect: hints })
    forExpress.guardStreams({ writer: u, relay: u, cleanup: u, detect: u })
    forKoa.createStreamMiddleware(() => {}, { ...streams, when: u, detect: u, model: u })
    const { response } = await answer()
    const options = { ...streams, signal: u, model: u, requestId: u }
    const { outcome } = await unhang.handleStream(response, ({ relay }) => relay(upstream()), options)
    expect(outcome).toBe('completed')
    const [first, second] = [await answer(), await answer()]
    const writer = unhang.createSSEWriter(first.response, { ...streams.writer, signal: u })
    const relaying = { map: u, dialect: u, onTruncated: u, maxEventBytes: u, onChunk: u }
    await unhang.relayEventStream(upstream(), writer, relaying)
    writer.close()
    const told = { dialect: u, exposeUpstreamErrors: u, requestId: u }
    unhang.respondWithError(new Error('bug'), second.response, told)
    const reading = { maxEventBytes: u, signal: u, onChunk: u }
    for await (const _event of unhang.readEventStream(upstream(), reading));
    expect(await unhang.readAnswer(Readable.from(['{"a":1}']), { ...reading, dialect: u })).toEqual({ a: 1 })
    const retry = { retries: u, retryUncertain: u, minAttemptMs: u, shouldRetry: u, onRetry: u }
    const opened = await unhang.openUpstream(async () => upstream(), { ...retry, signal: u, timeouts: u })
    await unhang.coordinatedSocketCleanup(opened, { reason: u, closeMs: u, lingerMs: u })
    new unhang.TimeoutCoordinator(u, { defaults: u, signal: u, beforeTimeout: u }).settle()
    unhang.detectStreamingRequest({ method: u, url: u, headers: u }, hints)
    unhang.selectTimeoutProfile({ streaming: true, model: u }, { advancedModels: u })
    unhang.subscribeStreams({ onStart: u, onHead: u, onTimeout: u, onCleanup: u, onReported: u, onEnd: u })()
    unhang.alignServerTimeouts(createServer(), { idleMs: u, heartbeatMs: u, apply: u })
    await unhang.drainStreams(createServer(), { noticeMs: u, graceMs: u, forceMs: u })
  })
})

describe('upstreams', () => {
  const form = 'write openUpstream(({ signal, attempt }) => …)'
  const f = () => upstream()
  areRefused([
    ['openUpstream((signal) => …)', () => library.openUpstream((signal: Any) => fetch('', { signal })), form],
    ['openUpstream(async (signal) => …)', () => library.openUpstream(async (signal: Any) => signal), form],
    [
      'openUpstream((attempt, signal) => …)',
      () => library.openUpstream((_: Any, signal: Any) => signal),
      form,
    ],
    ['openUpstream(fetch(url))', () => library.openUpstream(Promise.resolve()), 'takes a function'],
    [
      'openUpstream(f, { attempts: 3 })',
      () => library.openUpstream(f, { attempts: 3 }),
      'did you mean retries',
    ],
    [
      'openUpstream(f, { maxRetries: 3 })',
      () => library.openUpstream(f, { maxRetries: 3 }),
      'did you mean retries?',
    ],
    ['openUpstream(f, 3)', () => library.openUpstream(f, 3), 'retry must be an object, got 3'],
    [
      'openUpstream(f, signal)',
      () => library.openUpstream(f, new AbortController().signal),
      'retry must be an object, got an object of AbortSignal; write { signal }',
    ],
    [
      'openUpstream(f, { signal: controller })',
      () => library.openUpstream(f, { signal: new AbortController() }),
      'signal must be an AbortSignal, got an object of AbortController; write controller.signal',
    ],
    [
      "openUpstream(f, { retries: '3' })",
      () => library.openUpstream(f, { retries: '3' }),
      'retry.retries must be a whole number from 0, got "3"',
    ],
    [
      'openUpstream(f, { shouldRetry: true })',
      () => library.openUpstream(f, { shouldRetry: true }),
      'retry.shouldRetry must be a function, got true',
    ],
    [
      'openUpstream(f, { onRetry: 5 })',
      () => library.openUpstream(f, { onRetry: 5 }),
      'retry.onRetry must be a function, got 5',
    ],
    [
      "openUpstream(f, { retryUncertain: 'yes' })",
      () => library.openUpstream(f, { retryUncertain: 'yes' }),
      'retry.retryUncertain must be true or false, got "yes"',
    ],
    [
      'readEventStream(body, { sginal })',
      () => library.readEventStream(upstream(), { sginal: 1 }),
      'options.sginal is not an option; did you mean signal?',
    ],
    [
      "readEventStream(body, { maxEventBytes: '8mb' })",
      () => library.readEventStream(upstream(), { maxEventBytes: '8mb' }),
      'maxEventBytes must be a number above 0, got "8mb"',
    ],
    ['readEventStream(text)', () => library.readEventStream('data: x').next(), 'got a string'],
    [
      "readAnswer(answer, { dialct: 'openaiChat' })",
      () => library.readAnswer(upstream(), { dialct: 'openaiChat' }),
      'options.dialct is not an option; did you mean dialect?',
    ],
    [
      "readAnswer(answer, { dialect: 'openai' })",
      () => library.readAnswer(upstream(), { dialect: 'openai' }),
      'did you mean openaiChat?',
    ],
    [
      'relayEventStream(body, response)',
      (response) => library.relayEventStream(upstream(), response),
      'takes the result of createSSEWriter(response), got an object of ServerResponse',
    ],
    [
      'relayEventStream(body, writer, map)',
      (response) =>
        library.relayEventStream(upstream(), library.createSSEWriter(response), (event: Any) => event),
      'options must be an object, got a function',
    ],
    [
      'relayEventStream(body, writer, { map: {} })',
      (response) => library.relayEventStream(upstream(), library.createSSEWriter(response), { map: {} }),
      'map must be a function, got {}',
    ],
    [
      "relayEventStream(body, writer, { onTruncated: 'ignore' })",
      (response) =>
        library.relayEventStream(upstream(), library.createSSEWriter(response), { onTruncated: 'ignore' }),
      `onTruncated must be 'error' or 'accept', got "ignore"`,
    ],
    [
      'watchConnect(request, { connectMs: 200 })',
      () => library.watchConnect(call(), { connectMs: 200 }),
      'takes the deadlines of a stream or a TimeoutCoordinator, got {"connectMs":200}',
    ],
    [
      'watchConnect(url, deadlines)',
      () => library.watchConnect('http://127.0.0.1:1', new unhang.TimeoutCoordinator(false)),
      'takes a request of node:http or node:https, got "http://127.0.0.1:1"',
    ],
    ["coordinatedSocketCleanup('x')", () => library.coordinatedSocketCleanup('x'), 'got "x"'],
    [
      'coordinatedSocketCleanup(fetch(url))',
      () => library.coordinatedSocketCleanup(Promise.resolve()),
      'target is a promise, and has nothing to release: await it first',
    ],
    [
      'coordinatedSocketCleanup(signal)',
      () => library.coordinatedSocketCleanup(new AbortController().signal),
      'target is a signal, and has nothing to release: write its AbortController',
    ],
    [
      'coordinatedSocketCleanup(target, reason)',
      () => library.coordinatedSocketCleanup({}, 'over'),
      'cleanup must be an object, got "over"',
    ],
  ])

  test('in a stream, and its relay: the handler gets the error', async () => {
    const { response } = await answer()
    const messages: string[] = []
    const keep = (error: Error) => void messages.push(error.message)
    await unhang.handleStream(response, async (stream) => {
      const { openUpstream, relay, writer } = stream as Any
      await openUpstream((signal: Any) => signal).catch(keep)
      await openUpstream(f, { attempts: 3 }).catch(keep)
      await openUpstream(f, { signal: stream.signal }).catch(keep)
      await relay(upstream(), { map: (event: Any) => event }).catch(keep)
      await writer.write('over')
    })
    expect(messages).toEqual([
      expect.stringContaining(form),
      'retry.attempts is not an option; did you mean retries, which counts one less?',
      'retry.signal is not an option; there are retries, retryUncertain, minAttemptMs, shouldRetry, onRetry',
      'map must be a function, got {}',
    ])
  })
})

describe('writers and responses', () => {
  const write = (response: ServerResponse) => library.createSSEWriter(response)
  areRefused([
    [
      "writer.write({ type: 'x' })",
      (response) => write(response).write({ type: 'x' }),
      'event.data is missing: undefined; event.type is not a field, write { data: … }',
    ],
    [
      'writer.write(bytes)',
      (response) => write(response).write(Buffer.from('x')),
      'an event must be an object',
    ],
    ['writer.write([event])', (response) => write(response).write([{ data: 1 }]), 'got [{"data":1}]'],
    ['writer.end()', (response) => write(response).end(), 'there is no writer.end(): write writer.close()'],
    [
      'writer.send(…)',
      (response) => write(response).send('x'),
      'there is no writer.send(): write writer.write({ data })',
    ],
    [
      'writer.forward(event)',
      (response) => write(response).forward({ data: 'x' }),
      'writer.forward() takes text or bytes, got {"data":"x"}',
    ],
    ['writer.comment()', (response) => write(response).comment(), 'a comment must be a text, got undefined'],
    [
      'createSSEWriter(response, { heartbeat: 15000 })',
      (response) => library.createSSEWriter(response, { heartbeat: 15000 }),
      'got 15000; did you mean writer.heartbeatMs?',
    ],
    [
      'createSSEWriter(response, { headres: {} })',
      (response) => library.createSSEWriter(response, { headres: {} }),
      'writer.headres is not an option; did you mean headers?',
    ],
    [
      'createSSEWriter(response, { headers: [] })',
      (response) => library.createSSEWriter(response, { headers: [] }),
      'writer.headers must be an object or false, got []',
    ],
    [
      'createSSEWriter(response, signal)',
      (response) => library.createSSEWriter(response, new AbortController().signal),
      'writer must be an object, got an object of AbortSignal; write { signal }',
    ],
    [
      'createSSEWriter(response, { signal: controller })',
      (response) => library.createSSEWriter(response, { signal: new AbortController() }),
      'writer.signal must be an AbortSignal, got an object of AbortController; write controller.signal',
    ],
    [
      'createSSEWriter()',
      () => library.createSSEWriter(),
      'takes a response of node:http or node:http2, got undef',
    ],
    [
      'createSSEWriter(request)',
      ({ req }) => library.createSSEWriter(req),
      'createSSEWriter(response) takes a response of node:http or node:http2, got an object of IncomingMessage',
    ],
    [
      'createSSEWriter(context) of Koa',
      (response) => library.createSSEWriter({ res: response }),
      'did you mean its .res?',
    ],
    [
      'createSSEWriter(reply) of Fastify',
      (raw) => library.createSSEWriter({ raw }),
      'did you mean its .raw?',
    ],
    ['handleStream(handler)', () => library.handleStream(() => {}), 'got a function'],
    [
      'handleStream(request, response, handler)',
      (response) => library.handleStream(response.req, response, () => {}),
      'handleStream(response, handler) takes a response of node:http or node:http2, got an object of Incoming',
    ],
    [
      'handleStream(response)',
      (response) => library.handleStream(response),
      'handler must be a function, got unde',
    ],
    [
      'handleStream(response, handler, { signal: controller })',
      (response) => library.handleStream(response, () => {}, { signal: new AbortController() }),
      'signal must be an AbortSignal, got an object of AbortController; write controller.signal',
    ],
    [
      'handleStream(response, handler, { retries: 3 })',
      (response) => library.handleStream(response, () => {}, { retries: 3 }),
      'did you mean openUpstream(…, { retries })?',
    ],
    [
      'respondWithError(response, error)',
      (response) => library.respondWithError(response, hangUp),
      'respondWithError(error, response) takes a response of node:http or node:http2, got an object of Error',
    ],
    [
      'respondWithError(error, response, next)',
      (response) => library.respondWithError(hangUp, response, () => {}),
      'options must be an object, got a function',
    ],
    [
      'respondWithError(error, response, { requestId: 5 })',
      (response) => library.respondWithError(hangUp, response, { requestId: 5 }),
      'requestId must be a text, got 5',
    ],
    ['handleSocketHangUp(error)', () => library.handleSocketHangUp(new Error('other')), 'got undefined'],
    [
      "handleSocketHangUp(error, response, { dialect: 'openai' })",
      (response) => library.handleSocketHangUp(new Error('other'), response, { dialect: 'openai' }),
      'got "openai"; did you mean openaiChat?',
    ],
    [
      'encodeEvent()',
      () => library.encodeEvent(),
      'an event must be an object with data, or a text, got undefined',
    ],
  ])
})

describe('the guard and the routes', () => {
  const handler = () => {}
  areRefused([
    [
      'guardStreams({ timeout: 1000 })',
      () => onExpress.guardStreams({ timeout: 1000 }),
      'options.timeout is not an option; did you mean timeouts: { totalMs }?',
    ],
    [
      'guardStreams(app)',
      () => onExpress.guardStreams(express()),
      'options must be an object, got the function app',
    ],
    ['guardStreams(null)', () => onKoa.guardStreams(null), 'options must be an object, got null'],
    [
      "dialect: 'openai'",
      () => onExpress.guardStreams({ dialect: 'openai' }),
      'got "openai"; did you mean openaiChat?',
    ],
    [
      "timeouts: 'advancd'",
      () => onExpress.guardStreams({ timeouts: 'advancd' }),
      `timeouts must be an object, false or a profile ('standard', 'streaming', 'advanced'), got "advancd"; did you mean 'advanced'?`,
    ],
    [
      "detect: { paths: '/chat' }",
      () => onExpress.guardStreams({ detect: { paths: '/chat' } }),
      'detect.paths must be a list of texts and patterns, got "/chat"',
    ],
    ['detect: { paths: [5] }', () => onKoa.guardStreams({ detect: { paths: [5] } }), 'got [5]'],
    ['detect: { path: [] }', () => onKoa.guardStreams({ detect: { path: [] } }), 'did you mean paths?'],
    [
      "detect: ['/chat']",
      () => onKoa.guardStreams({ detect: ['/chat'] }),
      'detect must be an object, got ["/chat"]',
    ],
    [
      'detectStreamingRequest(request, { path: [] })',
      ({ req }) => library.detectStreamingRequest(req, { path: [] }),
      'detect.path is not an option; did you mean paths?',
    ],
    ['detectStreamingRequest()', () => library.detectStreamingRequest(), 'must be an object, got undefined'],
    [
      'wrapApp(koaApp) of unhang',
      () => library.wrapApp(new Koa3()),
      "app must be a function, got an object of Application; for Koa, import wrapApp from 'unhang/koa'",
    ],
    [
      'wrapApp(koaApp) of unhang/express',
      () => onExpress.wrapApp(new Koa3()),
      "for Koa, import wrapApp from 'unhang",
    ],
    [
      'wrapApp(expressApp) of unhang/koa',
      () => onKoa.wrapApp(express()),
      'app must be a Koa app, got the function app',
    ],
    ['wrapApp(app, null)', () => library.wrapApp(handler, null), 'options must be an object, got null'],
    [
      'createStreamMiddleware(options, handler)',
      () => onExpress.createStreamMiddleware({}, handler),
      'handler must be a function, got {}',
    ],
    ['getSignal()', () => library.getSignal(), 'getSignal(request) takes a request, got undefined'],
    ['getStream({})', () => library.getStream({}), 'getStream(request) takes a request, got {}'],
  ])

  test.each(expressVersions)(
    'app.use(guardStreams) in %s: the app hears what to write',
    async (_name, version) => {
      const app = version()
      app.use(onExpress.guardStreams)
      app.use(((error, _request, response, _next) => {
        response.status(500).send(error.message)
      }) as express.ErrorRequestHandler)
      expect(await bodyOf(app)).toBe('write app.use(guardStreams()), with the parentheses')
    },
  )

  test.each([
    ['Koa 3', Koa3],
    ['Koa 2', Koa2],
  ])('app.use(guardStreams) in %s: the app hears what to write', async (_name, Koa) => {
    const app = new Koa()
    const errors: string[] = []
    app.on('error', (error) => errors.push(error.message))
    app.use(onKoa.guardStreams)
    expect(await bodyOf(app.callback())).toBe('Internal Server Error')
    expect(errors).toEqual(['write app.use(guardStreams()), with the parentheses'])
  })

  async function bodyOf(listener: (...values: Any[]) => unknown): Promise<string> {
    const mounted = createServer(listener).listen(0, '127.0.0.1')
    await once(mounted, 'listening')
    try {
      return await (await fetch(`http://127.0.0.1:${(mounted.address() as AddressInfo).port}`)).text()
    } finally {
      mounted.closeAllConnections()
      mounted.close()
    }
  }
})

describe('servers, clocks, subscriptions, errors, and the tests of an app', () => {
  const listens = 'takes the server that listens, got the function app; write const server = app.listen(port)'
  areRefused([
    ['drainStreams(app)', () => library.drainStreams(express()), `drainStreams(server) ${listens}`],
    ['drainStreams(netServer)', () => library.drainStreams(createNetServer()), 'got an object of Server'],
    [
      'drainStreams(server, 5000)',
      () => library.drainStreams(createServer(), 5000),
      'options must be an object, got 5000',
    ],
    [
      'drainStreams(server, { grace: 5 })',
      () => library.drainStreams(createServer(), { grace: 5 }),
      'did you mean graceMs?',
    ],
    [
      "noticeMs: ''",
      () => library.drainStreams(createServer(), { noticeMs: '' }),
      'noticeMs must be a number',
    ],
    [
      'alignServerTimeouts(app)',
      () => library.alignServerTimeouts(express()),
      `alignServerTimeouts(server) ${listens}`,
    ],
    [
      'alignServerTimeouts(http2Server)',
      () => library.alignServerTimeouts(createHttp2Server()),
      'takes a server of node:http or node:https, got an object of Http2Server',
    ],
    [
      'alignServerTimeouts(server, { idle: 5 })',
      () => library.alignServerTimeouts(createServer(), { idle: 5 }),
      'did you mean idleMs?',
    ],
    [
      "apply: 'no'",
      () => library.alignServerTimeouts(createServer(), { apply: 'no' }),
      'apply must be true or false, got "no"',
    ],
    ['new TimeoutCoordinator(30000)', () => new library.TimeoutCoordinator(30000), 'got 30000'],
    [
      'new TimeoutCoordinator([])',
      () => new library.TimeoutCoordinator([]),
      'timeouts must be an object, got []',
    ],
    [
      'new TimeoutCoordinator({ timeout: 5 })',
      () => new library.TimeoutCoordinator({ timeout: 5 }),
      'did you mean totalMs?',
    ],
    [
      'new TimeoutCoordinator({}, { onTimeout })',
      () => new library.TimeoutCoordinator({}, { onTimeout() {} }),
      'options.onTimeout is not an option; there are defaults, signal',
    ],
    [
      'new TimeoutCoordinator({}, signal)',
      () => new library.TimeoutCoordinator({}, new AbortController().signal),
      'options must be an object, got an object of AbortSignal; write { signal }',
    ],
    [
      'new TimeoutCoordinator({}, { defaults: { totalMs: 5 } })',
      () => new library.TimeoutCoordinator({}, { defaults: { totalMs: 5 } }),
      'options.defaults.connectMs must be a number of milliseconds above 0',
    ],
    [
      'coordinator.run(work)',
      () => new library.TimeoutCoordinator(false).run(() => {}),
      'run(work) takes a promise',
    ],
    [
      "selectTimeoutProfile('advanced')",
      () => library.selectTimeoutProfile('advanced'),
      'request must be an object',
    ],
    [
      'selectTimeoutProfile({ stream: true })',
      () => library.selectTimeoutProfile({ stream: true }),
      'did you mean streaming?',
    ],
    [
      "selectTimeoutProfile(request, { advancedModels: 'x' })",
      () => library.selectTimeoutProfile({ streaming: true }, { advancedModels: 'x' }),
      'advancedModels must be a list of names and patterns, got "x"',
    ],
    ['subscribeStreams(callback)', () => library.subscribeStreams(() => {}), 'subscribers must be an object'],
    [
      'subscribeStreams({ end })',
      () => library.subscribeStreams({ end() {} }),
      'subscribers.end is not an option; there are onStart',
    ],
    [
      'subscribeStreams({ onEnd: 5 })',
      () => library.subscribeStreams({ onEnd: 5 }),
      'subscribers.onEnd must be a function, got 5',
    ],
    [
      "new StreamError('oops')",
      () => new library.StreamError('oops'),
      'outcome must be one of upstream_connect, ',
    ],
    [
      "new StreamError('internal', { stauts: 5 })",
      () => new library.StreamError('internal', { stauts: 5 }),
      'did you mean status?',
    ],
    [
      "new StreamTimeoutError('firstbyte')",
      () => new library.StreamTimeoutError('firstbyte'),
      'phase must be one of connect, ',
    ],
    ['new UpstreamError(500)', () => new library.UpstreamError(500), 'options must be an object, got 500'],
    [
      "new UpstreamError({ status: '500' })",
      () => new library.UpstreamError({ status: '500' }),
      'status must be a number, got "500"',
    ],
    [
      "startUpstream('good')",
      () => library.startUpstream('good'),
      'takes a function, got "good"; did you mean faults.good?',
    ],
    [
      'rawRequest({ url })',
      () => library.rawRequest({ url: 'http://x' }),
      'request.url is not an option; did you mean port and path?',
    ],
    [
      'rawRequest({})',
      () => library.rawRequest({}),
      'request.port must be a port of 127.0.0.1, got undefined',
    ],
    ['new RawClient()', () => new library.RawClient(), 'a RawClient takes a port or a socket, got undefined'],
    ['assertCleanEnding(promise)', () => library.assertCleanEnding(Promise.resolve()), 'await it first'],
  ])
})

describe('the old form of each row of the table is refused by the new one', () => {
  const handler = () => {}
  areRefused([
    ['recovery', () => onExpress.guardStreams({ recovery: false }), 'did you mean reportErrors?'],
    [
      'subscribeStreams({ onRecovery })',
      () => library.subscribeStreams({ onRecovery() {} }),
      'did you mean onReported?',
    ],
    [
      'exposeDetails',
      () => onKoa.guardStreams({ exposeDetails: true }),
      'did you mean exposeUpstreamErrors?',
    ],
    [
      'exposeDetails of respondWithError',
      (response) => library.respondWithError(hangUp, response, { exposeDetails: true }),
      'did you mean exposeUpstreamErrors?',
    ],
    [
      'timeouts.drainMs',
      () => onKoa.guardStreams({ timeouts: { drainMs: 5 } }),
      'did you mean clientStallMs?',
    ],
    ['drainMs', () => onKoa.guardStreams({ drainMs: 5 }), 'did you mean timeouts.clientStallMs?'],
    [
      'timeouts.stallMs',
      () => onKoa.guardStreams({ timeouts: { stallMs: 5 } }),
      'did you mean upstreamStallMs?',
    ],
    ['cleanup.graceMs', () => onKoa.guardStreams({ cleanup: { graceMs: 5 } }), 'did you mean closeMs?'],
    ['graceMs', () => onKoa.guardStreams({ graceMs: 5 }), 'did you mean cleanup.closeMs?'],
    [
      'graceMs of coordinatedSocketCleanup',
      () => library.coordinatedSocketCleanup(new AbortController(), { graceMs: 5 }),
      'did you mean closeMs?',
    ],
    [
      'writer.commitAfterMs',
      () => onKoa.createStreamMiddleware(handler, { writer: { commitAfterMs: 5 } }),
      'writer.commitAfterMs is not an option; did you mean headersAfterMs?',
    ],
    [
      'commitAfterMs of createSSEWriter',
      (response) => library.createSSEWriter(response, { commitAfterMs: 5 }),
      'did you mean headersAfterMs?',
    ],
    [
      'writer.commitAfterMs in the guard',
      () => onExpress.guardStreams({ writer: { commitAfterMs: 5 } }),
      'writer.commitAfterMs has no effect in the guard: your handler sends the headers',
    ],
    [
      'writer.headersAfterMs in the guard',
      () => library.wrapApp(handler, { writer: { headersAfterMs: 5 } }),
      'writer.headersAfterMs has no effect in the guard: your handler sends the headers',
    ],
    [
      'writer.committed',
      (response) => library.createSSEWriter(response).committed,
      'there is no writer.committed: write writer.headersSent',
    ],
    [
      'detect: false in a route',
      () => onKoa.createStreamMiddleware(handler, { detect: false }),
      "write when: 'always'",
    ],
    ['detect: false in the guard', () => onKoa.guardStreams({ detect: false }), "write when: 'responds'"],
    [
      "when: 'always' in the guard",
      () => onKoa.guardStreams({ when: 'always' }),
      "when must be 'requested' or 'responds'",
    ],
  ])

  test('getStream(request).timeouts', async () => {
    const { response } = await answer()
    let message: unknown
    const guarded = unhang.wrapApp((request, guardedResponse) => {
      try {
        ;(unhang.getStream(request) as Any).timeouts.touch()
      } catch (error) {
        message = (error as Error).message
      }
      guardedResponse.end()
    })
    guarded(response.req, response)
    expect(message).toBe('there is no stream.timeouts: write stream.deadlines')
  })

  test('stream.timeouts', async () => {
    const { response } = await answer()
    let message: unknown
    await unhang.handleStream(response, async (stream) => {
      try {
        ;(stream as Any).timeouts.touch()
      } catch (error) {
        message = (error as Error).message
      }
      await stream.writer.write('over')
    })
    expect(message).toBe('there is no stream.timeouts: write stream.deadlines')
  })
})
