import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { inspect } from 'node:util'
import axios from 'axios'
import { afterEach, describe, expect, test, vi } from 'vitest'
import {
  channels,
  dialects,
  type HandleStreamOptions,
  handleStream,
  type StreamContext,
  type StreamDialect,
  type StreamEnd,
  StreamError,
  StreamTimeoutError,
  subscribeStreams,
  type UpstreamError,
} from '../../src/index.js'
import { liveStreams } from '../../src/server/live-streams.js'
import { chatAnswer, chatChunk, failureOf, textOf } from '../support/chat.js'
import { clockOf } from '../support/clock-of.js'
import { listen, startProxy, upstreamClients } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'
import { expectWarning } from '../support/warnings.js'
import { withResolvers } from '../support/with-resolvers.js'

const { http } = upstreamClients
const ask = (port: number, headers = {}) => rawRequest({ port, body: { stream: true }, headers })

afterEach(() => vi.restoreAllMocks())

describe('the record', () => {
  test('of a good stream', async () => {
    await using upstream = await startUpstream((exchange) =>
      exchange
        .open()
        .data(...chatAnswer('Hel', 'lo'))
        .end(),
    )
    await using proxy = await startProxy(async (stream) => stream.relay(await http(upstream.url, stream)), {
      model: 'test-model',
    })
    using client = await ask(proxy.port, { 'X-Request-Id': 'abc-1' }).finished()
    const end = await proxy.end()
    expect(end).toEqual({
      outcome: 'completed',
      reason: undefined,
      phase: undefined,
      requestId: 'abc-1',
      model: 'test-model',
      status: 200,
      ttfbMs: expect.any(Number),
      durationMs: expect.any(Number),
      maxGapMs: expect.any(Number),
      events: 4,
      bytes: client.body.bytes.length,
      heartbeats: 0,
      sawTerminal: true,
      retries: 0,
      upstreamsLeftRunning: 0,
      usage: expect.anything(),
      streamId: undefined,
      recorded: false,
      detached: false,
      suppressed: [],
    } satisfies StreamEnd)
    expect(client.header('x-request-id')).toBe('abc-1')
    expect(end.ttfbMs).toBeLessThanOrEqual(end.durationMs)
  })

  test.each(['two words', 'x'.repeat(200), '<script>'])('the request id %j is replaced', async (id) => {
    await using proxy = await startProxy(({ writer }) => writer.write({ data: '[DONE]' }))
    using client = await ask(proxy.port, { 'X-Request-Id': id }).finished()
    const { requestId } = await proxy.end()
    expect(requestId).toMatch(/^[\w-]{36}$/)
    expect(client.header('x-request-id')).toBe(requestId)
  })

  test('goes to the channels, in order, each with the request id', async () => {
    const seen: [string, Record<string, unknown>][] = []
    const listener = (message: unknown, name: string | symbol) => {
      seen.push([String(name).replace('unhang:stream:', ''), message as Record<string, unknown>])
    }
    const names = Object.values(channels).map(({ name }) => name)
    for (const name of names) subscribe(name, listener)
    await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hi')))
    await using proxy = await startProxy(async (stream) => stream.relay(await http(upstream.url, stream)), {
      timeouts: { inactivityMs: 50 },
    })
    using _client = await ask(proxy.port, { 'X-Request-Id': 'abc-2' }).finished()
    while (!seen.some(([name]) => name === 'cleanup')) await new Promise(setImmediate)
    for (const name of names) unsubscribe(name, listener)
    const order = seen.map(([name]) => name).filter((name) => name !== 'cleanup')
    expect(order).toEqual(['start', 'head', 'timeout', 'reported', 'end'])
    expect(seen.every(([, message]) => message.requestId === 'abc-2')).toBe(true)
    expect(seen.find(([name]) => name === 'timeout')?.[1]).toMatchObject({
      phase: 'inactivity',
      timeoutMs: 50,
    })
    expect(JSON.stringify(seen)).not.toContain('Hi')
  })

  test('goes to subscribeStreams as it goes to onEnd, and after stop() no more', async () => {
    const subscribed: StreamEnd[] = []
    const ended: StreamEnd[] = []
    const stop = subscribeStreams({ onEnd: (end) => subscribed.push(end) })
    await using server = await listen((_request, response) => {
      const onEnd = (end: StreamEnd) => ended.push(end)
      void handleStream(response, ({ writer }) => writer.write({ data: '[DONE]' }), { onEnd })
    })
    using _first = await ask(server.port, { 'X-Request-Id': 'abc-3' }).finished()
    await vi.waitUntil(() => ended.length === 1)
    expect(subscribed).toHaveLength(1)
    expect(subscribed[0]).toBe(ended[0])
    expect(subscribed[0]?.requestId).toBe('abc-3')
    stop()
    using _second = await ask(server.port).finished()
    await vi.waitUntil(() => ended.length === 2)
    expect(subscribed).toHaveLength(1)
  })

  test('holds nothing that was said, and no header, wherever a logger looks', async () => {
    await using upstream = await startUpstream((exchange) =>
      exchange.answer('401 No', '{"error":"key sk-secret"}'),
    )
    await using proxy = await startProxy(async (stream) => stream.relay(await http(upstream.url, stream)))
    using _client = await ask(proxy.port).finished()
    const end = await proxy.end()
    expect(end.reason).toMatchObject({ status: 401 })
    expect((end.reason as UpstreamError).detail).toContain('sk-secret')
    expect(JSON.stringify(end) + inspect(end, { depth: 9 })).not.toContain('sk-secret')
  })

  test('counts the silence that ended the stream', async () => {
    await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hi')))
    const timeouts = { inactivityMs: 100 }
    await using proxy = await startProxy(async (stream) => stream.relay(await http(upstream.url, stream)), {
      timeouts,
    })
    using _client = await ask(proxy.port).finished()
    expect((await proxy.end()).maxGapMs).toBeGreaterThanOrEqual(100)
  })

  test.each([
    [
      'throws',
      () => {
        throw new Error('it throws')
      },
    ],
    ['rejects', () => Promise.reject(new Error('it rejects'))],
  ])('an onEnd that %s changes nothing', async (how, onEnd) => {
    const warning = expectWarning(new RegExp(`^UnhangWarning: onEnd failed: Error: it ${how}$`))
    await using server = await listen((_request, response) => {
      void handleStream(response, ({ writer }) => writer.write({ data: '[DONE]' }), { onEnd })
    })
    using client = await ask(server.port).finished()
    expect(client.data).toEqual(['[DONE]'])
    await warning
  })

  test('an onEnd that throws, with others listening, changes nothing', async () => {
    const warning = expectWarning(/^UnhangWarning: onEnd failed: Error: it throws too$/)
    await using proxy = await startProxy(({ writer }) => writer.write({ data: '[DONE]' }), {
      onEnd: () => {
        throw new Error('it throws too')
      },
    })
    using client = await ask(proxy.port).finished()
    expect(client.data).toEqual(['[DONE]'])
    await warning
  })

  test('a failed handler is printed, unless onEnd says that it has been reported', async () => {
    const print = vi.spyOn(console, 'error').mockImplementation(() => {})
    const bug = new Error('bug')
    const ended: Promise<StreamEnd>[] = []
    await using server = await listen((_request, response) => {
      ended.push(handleStream(response, () => Promise.reject(bug)))
    })
    using _client = await ask(server.port).finished()
    await ended[0]
    expect(print).toHaveBeenCalledExactlyOnceWith(
      'unhang: %s: the handler failed: %s',
      expect.any(String),
      expect.stringMatching(/^Error: bug\n\s+at /),
    )
    await using proxy = await startProxy(() => Promise.reject(bug))
    using _other = await ask(proxy.port).finished()
    await proxy.end()
    expect(print).toHaveBeenCalledTimes(1)
    const stop = subscribeStreams({ onEnd: () => {} })
    for (const onEnd of [undefined, () => {}, async () => 'yes']) {
      print.mockClear()
      await using heard = await listen((_request, response) => {
        ended.push(handleStream(response, () => Promise.reject(bug), { onEnd }))
      })
      using _last = await ask(heard.port).finished()
      await ended.at(-1)
      await vi.waitUntil(() => print.mock.calls.length === 1)
    }
    stop()
  })

  test('as JSON it says why, and of the cause no more than its name, its code and its message', async () => {
    const cause = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET', config: { key: 'sk-1' } })
    await using proxy = await startProxy(() => Promise.reject(cause))
    using _client = await ask(proxy.port).finished()
    expect(JSON.parse(JSON.stringify(await proxy.end())).reason).toMatchObject({
      outcome: 'upstream_hangup',
      message: 'The upstream closed the connection before the answer was complete.',
      cause: { name: 'Error', code: 'ECONNRESET', message: 'read ECONNRESET' },
    })
    expect(JSON.stringify(await proxy.end())).not.toContain('sk-1')
  })
})

describe('handlers of every kind', () => {
  test('one that loops over the events itself', async () => {
    await using upstream = await startUpstream((exchange) =>
      exchange
        .open()
        .data(...chatAnswer('Hel', 'lo'))
        .end(),
    )
    await using proxy = await startProxy(async (stream) => {
      for await (const { data } of stream.read(await http(upstream.url, stream)))
        await stream.writer.write({ data })
    })
    using client = await ask(proxy.port).finished()
    expect(textOf(client.data)).toBe('Hello')
    expect(client.data.at(-1)).toBe('[DONE]')
    expect(await proxy.end()).toMatchObject({ outcome: 'completed', events: 4 })
  })

  test('one that forgets to wait for its call', async () => {
    await using upstream = await startUpstream((exchange) =>
      exchange
        .open()
        .data(...chatAnswer('Hi'))
        .end(),
    )
    await using proxy = await startProxy((stream) => stream.relay(http(upstream.url, stream)))
    using client = await ask(proxy.port).finished()
    expect(textOf(client.data)).toBe('Hi')
  })

  test('one that forgets it, and whose client leaves: no unhandled rejection', async () => {
    await using upstream = await startUpstream(() => {})
    await using proxy = await startProxy((stream) =>
      stream.relay(upstreamClients.fetch(upstream.url, stream)),
    )
    using client = ask(proxy.port)
    await upstream.exchange(0)
    client.reset()
    expect(await proxy.end()).toMatchObject({ outcome: 'client_gone' })
    await new Promise(setImmediate)
  })

  test('one on a path that says nothing: the first event tells the dialect', async () => {
    await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hi')).end())
    await using proxy = await startProxy(async (stream) => stream.relay(await http(upstream.url, stream)))
    using client = await rawRequest({ port: proxy.port, path: '/api/chat', body: {} }).finished()
    expect(failureOf(client.data).code).toBe('upstream_truncated')
    await using chosen = await startProxy(async (stream) => stream.relay(await http(upstream.url, stream)), {
      dialect: 'plain',
    })
    using plain = await rawRequest({ port: chosen.port, path: '/api/chat', body: {} }).finished()
    expect(textOf(plain.data)).toBe('Hi')
  })

  test.each<[string, (stream: StreamContext) => unknown, string]>([
    [
      'async map',
      ({ relay }) => relay(new Response('data: x\n\n'), (async () => ({ data: 1 })) as never),
      'map must not be async',
    ],
    [
      'a number for an event',
      ({ writer }) => writer.write(7 as never),
      'an event must be an object with data, or a text, got 7',
    ],
    [
      'text for an upstream',
      ({ relay }) => relay('data: secret' as never),
      'expected a response or a byte stream, got a string',
    ],
    [
      'text from map',
      ({ relay }) => relay(new Response('data: secret\n\n'), (({ data }: { data: string }) => data) as never),
      'map must return an event',
    ],
  ])('one with a mistake gets a message that names it: %s', async (_what, handler, message) => {
    await using proxy = await startProxy(handler)
    using client = await ask(proxy.port).finished()
    expect(client.status).toBe(500)
    expect((await proxy.end()).reason?.cause).toMatchObject({ message: expect.stringContaining(message) })
  })

  test('one that has no upstream: its writes count as activity', async () => {
    await using proxy = await startProxy(
      async ({ writer }) => {
        for (let events = 0; events < 10; events++) {
          await writer.write({ data: chatChunk(`${events}`) })
          await new Promise((resolve) => setTimeout(resolve, 20))
        }
        await writer.write({ data: chatChunk('', 'stop') })
      },
      { timeouts: { firstByteMs: 150, inactivityMs: 150 } },
    )
    using client = await ask(proxy.port).finished()
    expect(textOf(client.data)).toBe('0123456789')
    expect(client.data.at(-1)).toBe('[DONE]')
  })

  test('one that goes on after the end does not keep the client waiting, nor say more', async () => {
    const goOn: (() => void)[] = []
    await using proxy = await startProxy(async ({ writer }) => {
      for (const data of chatAnswer('Hi')) void writer.write({ data })
      void writer.write({ data: '[DONE]' })
      await new Promise<void>((resolve) => goOn.push(resolve))
      await writer.write({ data: 'late' })
    })
    using client = await ask(proxy.port).finished()
    expect(client.data.filter((data) => data === '[DONE]')).toHaveLength(1)
    expect(await proxy.end()).toMatchObject({ outcome: 'completed' })
    for (const resume of goOn) resume()
    await new Promise(setImmediate)
    expect(client.bodyText).not.toContain('late')
  })

  test('one that answers with JSON after all', async () => {
    await using proxy = await startProxy((_stream, _request, response) => {
      response.setHeader('content-type', 'application/json')
      response.end('{"stream":false}')
    })
    using client = await ask(proxy.port).finished()
    expect(client.bodyText).toBe('{"stream":false}')
    expect(client.header('content-type')).toBe('application/json')
    expect(await proxy.end()).toMatchObject({ outcome: 'completed', status: 200, events: 0 })
  })

  test('one that says nothing has not responded: never an empty 200', async () => {
    await using proxy = await startProxy(() => {})
    using client = await ask(proxy.port).finished()
    expect(client.status).toBe(500)
    expect(client.json.error.code).toBe('no_answer')
  })

  test('two that fail as the client leaves are distinguished', async () => {
    await using proxy = await startProxy(async ({ writer, signal }) => {
      await writer.write({ data: chatChunk('Hi') })
      await once(signal, 'abort')
      throw Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' })
    })
    using client = await ask(proxy.port).received('Hi')
    client.reset()
    expect(await proxy.end()).toMatchObject({ outcome: 'client_gone' })
  })
})

describe('options', () => {
  test.each<[object, string]>([
    [{ timeout: 5 }, 'options.timeout is not an option; did you mean timeouts: { totalMs }?'],
    [{ whatever: 5 }, 'options.whatever is not an option; there are timeouts, writer'],
    [{ heartbeatMs: 5 }, 'did you mean writer.heartbeatMs?'],
    [{ 'writer.heartbeatMs': 5 }, 'did you mean writer: { heartbeatMs }?'],
    [{ requestId: 'a\nb' }, 'requestId must be letters'],
    [{ writer: { beat: 5 } }, 'writer.beat is not an option; there are heartbeatMs'],
    [{ relay: { max: 5 } }, 'relay.max is not an option'],
    [{ cleanup: { linger: 5 } }, 'cleanup.linger is not an option'],
    [
      { writer: { headersAfterMs: 500 }, timeouts: { firstByteMs: 500 } },
      'writer.headersAfterMs (500) must be shorter than timeouts.firstByteMs (500)',
    ],
    [{ cleanup: true }, 'cleanup must be an object or false, got true'],
    [{ exposeUpstreamErrors: 'false' }, 'exposeUpstreamErrors must be true or false, got "false"'],
    [{ advancedModels: 'o3' }, 'advancedModels must be a list of names and patterns, got "o3"'],
    [{ timeouts: { totalMs: 0 } }, 'timeouts.totalMs'],
    [{ writer: { heartbeatMs: 0 } }, 'writer.heartbeatMs'],
    [{ relay: { maxEventBytes: 0 } }, 'relay.maxEventBytes'],
    [{ relay: { onTruncated: 'ignore' } }, `relay.onTruncated must be 'error' or 'accept', got "ignore"`],
    [{ cleanup: { closeMs: 0 } }, 'cleanup.closeMs'],
    [{ cleanup: { lingerMs: 'x' } }, 'cleanup.lingerMs'],
    [{ dialect: 'x' }, 'dialect must be one of'],
    [{ onEnd: 7 }, 'onEnd must be a function, got 7'],
  ])('%j is refused before anything is touched', async (options, message) => {
    await using server = await listen(async (_request, response) => {
      await expect(handleStream(response, () => {}, options as HandleStreamOptions)).rejects.toThrow(message)
      response.end('untouched')
    })
    using client = await ask(server.port).finished()
    expect(client.bodyText).toBe('untouched')
  })

  test('cleanup: false leaves the upstream to the handler', async () => {
    await using upstream = await startUpstream((exchange) => exchange.open().data(...chatAnswer('Hi')))
    const opened: { destroyed: boolean }[] = []
    await using proxy = await startProxy(
      async (stream) => {
        const response = await http(upstream.url, stream)
        opened.push(response as unknown as { destroyed: boolean })
        await stream.relay(response)
      },
      { cleanup: false },
    )
    using _client = await ask(proxy.port).finished()
    await proxy.end()
    await new Promise(setImmediate)
    expect(opened[0]?.destroyed).toBe(false)
  })
})

test('a stream is in the registry while it lives', async () => {
  let during = 0
  await using proxy = await startProxy(({ writer }) => {
    during = liveStreams().size
    void writer.write({ data: '[DONE]' })
  })
  using _client = await ask(proxy.port).finished()
  await proxy.end()
  while (liveStreams().size > 0) await new Promise(setImmediate)
  expect(during).toBe(1)
})

describe('handlers that do it their own way', () => {
  test('the app has sent the head itself', async () => {
    await using upstream = await startUpstream((exchange) =>
      exchange
        .open()
        .data(...chatAnswer('Hi'))
        .end(),
    )
    await using proxy = await startProxy(async (stream, _request, response) => {
      response.setHeader('content-type', 'text/event-stream')
      response.flushHeaders()
      await stream.relay(await http(upstream.url, stream))
    })
    using client = await ask(proxy.port).finished()
    expect(textOf(client.data)).toBe('Hi')
    expect(client.data.at(-1)).toBe('[DONE]')
  })

  test('a role chunk is written first: the upstream has its firstByteMs all the same', async () => {
    await using upstream = await startUpstream(async (exchange) => {
      await new Promise((resolve) => setTimeout(resolve, 400))
      exchange
        .open()
        .data(...chatAnswer('Hi'))
        .end()
    })
    await using proxy = await startProxy(
      async (stream) => {
        await stream.writer.write({ data: chatChunk('') })
        await stream.relay(await http(upstream.url, stream))
      },
      { timeouts: { firstByteMs: 5_000, inactivityMs: 100 } },
    )
    using client = await ask(proxy.port).finished()
    expect(textOf(client.data)).toBe('Hi')
  })

  test('the upstream that is read has nothing to say: never an empty 200', async () => {
    await using upstream = await startUpstream((exchange) =>
      exchange.answer('200 OK', '<p>hello</p>', 'Content-Type: text/plain'),
    )
    await using proxy = await startProxy(
      async (stream) => {
        for await (const event of stream.read(await http(upstream.url, stream)))
          void stream.writer.write(event)
      },
      { dialect: 'plain' },
    )
    using client = await ask(proxy.port).finished()
    expect(client.status).toBe(502)
  })

  test('the response has been sent before: the handler is not run', async () => {
    let handled = false
    await using server = await listen(async (_request, response) => {
      response.end('too late')
      await handleStream(response, () => {
        handled = true
      })
    })
    using client = await ask(server.port).finished()
    expect(client.bodyText).toBe('too late')
    expect(handled).toBe(false)
  })

  test('the handler closes the writer itself', async () => {
    await using proxy = await startProxy(({ writer }) => {
      void writer.write({ data: chatChunk('Hi') })
      writer.close({ data: '[DONE]' })
    })
    using client = await ask(proxy.port).finished()
    expect(client.data.at(-1)).toBe('[DONE]')
    expect(await proxy.end()).toMatchObject({ outcome: 'completed', sawTerminal: true })
  })

  test('the relay takes its time, unwaited for', async () => {
    await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')))
    await using proxy = await startProxy((stream) => {
      void stream.relay(http(upstream.url, stream))
    })
    using client = await ask(proxy.port).received('Hel')
    ;(await upstream.exchange(0)).data(chatChunk('lo'), chatChunk('', 'stop'), '[DONE]').end()
    await client.finished()
    expect(textOf(client.data)).toBe('Hello')
    expect(client.data.at(-1)).toBe('[DONE]')
  })

  test('the upstream breaks after a complete answer; a bug after it is a bug all the same', async () => {
    await using upstream = await startUpstream((exchange) =>
      exchange.open().data(chatChunk('Hi'), chatChunk('', 'stop')),
    )
    await using proxy = await startProxy(async (stream) => stream.relay(await http(upstream.url, stream)))
    using client = await ask(proxy.port).received('stop')
    await (await upstream.exchange(0)).reset()
    await client.finished()
    expect(client.data.at(-1)).toBe('[DONE]')
    const end = { outcome: 'completed', suppressed: ['upstream_hangup'], sawTerminal: true }
    expect(await proxy.end()).toMatchObject(end)

    await using buggy = await startProxy(({ writer }) => {
      void writer.write({ data: chatChunk('', 'stop') })
      throw new Error('bug')
    })
    using other = await ask(buggy.port).finished()
    expect(failureOf(other.data).code).toBe('internal_error')
  })

  test('FM-42: the server’s own timeout is shorter than a silence', async () => {
    await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hi')))
    await using proxy = await startProxy(
      async (stream) => stream.relay(await http(upstream.url, stream)),
      {},
      150,
    )
    using client = await ask(proxy.port).received('Hi')
    await new Promise((resolve) => setTimeout(resolve, 500))
    ;(await upstream.exchange(0)).data('[DONE]').end()
    await client.finished()
    expect(client.data.at(-1)).toBe('[DONE]')
  })

  test('a dialect that fails itself does not keep the client waiting', async () => {
    const dialect: StreamDialect = {
      ...dialects.openaiChat,
      follow: () => ({
        ...dialects.plain.follow(),
        failing: () => {
          throw new Error('bug')
        },
      }),
    }
    await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hi')).fin())
    await using proxy = await startProxy(async (stream) => stream.relay(await http(upstream.url, stream)), {
      dialect,
    })
    using client = await ask(proxy.port).closed()
    expect(client.body.complete).toBe(false)
    expect(await proxy.end()).toMatchObject({ outcome: 'upstream_hangup' })
  })
})

describe('for odd clients', () => {
  test('heartbeats as empty deltas, once the chat has begun', async () => {
    const { promise, resolve } = withResolvers<void>()
    await using proxy = await startProxy(
      async ({ writer }) => {
        writer.open()
        while (writer.heartbeats < 1) await new Promise((wait) => setTimeout(wait, 5))
        await writer.write({ data: chatChunk('Hi') })
        await promise
        for (const data of chatAnswer().slice(0, 2)) await writer.write({ data })
      },
      { writer: { heartbeatMs: 20, heartbeat: 'empty-delta' }, dialect: 'openaiChat' },
    )
    using client = rawRequest({ port: proxy.port, body: { stream: true } })
    await client.received('"delta":{"content":""},"finish_reason":null')
    resolve()
    await client.finished()
    expect(client.bodyText.startsWith(':\n\n')).toBe(true)
    expect(JSON.parse(client.data[1] ?? '')).toEqual({
      ...chatChunk(''),
      choices: [{ index: 0, delta: { content: '' }, finish_reason: null }],
    })
    expect(client.data.at(-1)).toBe('[DONE]')
    expect(textOf(client.data)).toBe('Hi')
  })

  test.each([true, false])('doneAfterError: %s', async (doneAfterError) => {
    await using proxy = await startProxy(
      async ({ writer }) => {
        await writer.write({ data: chatChunk('Hi') })
        throw new Error('bug')
      },
      { doneAfterError, dialect: 'openaiChat', onEnd: () => true },
    )
    using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
    expect(client.data).toHaveLength(doneAfterError ? 3 : 2)
    expect(client.data.includes('[DONE]')).toBe(doneAfterError)
  })

  test('the AI SDK’s UI looks for a header', async () => {
    await using proxy = await startProxy(({ writer }) => void writer.write({ data: '[DONE]' }), {
      dialect: 'aiSdkUi',
    })
    using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
    expect(client.header('x-vercel-ai-ui-message-stream')).toBe('v1')
  })
})

test('an axios with a timer of its own is warned of, once', async () => {
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  await using upstream = await startUpstream((exchange) =>
    exchange
      .open()
      .data(...chatAnswer('Hi'))
      .end(),
  )
  await using proxy = await startProxy(async ({ relay, signal }) => {
    await relay(
      await axios.post(upstream.url, undefined, { responseType: 'stream', signal, timeout: 54_321 }),
    )
  })
  for (let times = 0; times < 2; times++) await (await ask(proxy.port).finished())[Symbol.dispose]()
  expect(
    warn.mock.calls.map(([message]) => String(message)).filter((message) => message.includes('54321')),
  ).toEqual([expect.stringContaining('pass timeout: 0')])
})

test('an upstream that answers when the client has long left is let go all the same', async () => {
  const { promise: answered, resolve: answer } = withResolvers<PassThrough>()
  await using proxy = await startProxy(({ relay }) => relay(answered))
  using client = ask(proxy.port)
  await once(client.socket, 'connect')
  await vi.waitUntil(() => liveStreams().size > 0)
  client.reset()
  expect(await proxy.end()).toMatchObject({ outcome: 'client_gone' })
  const late = new PassThrough()
  answer(late)
  if (!late.closed) await new Promise((resolve) => late.once('close', resolve))
  expect(late.destroyed).toBe(true)
})

test('a handler that ends the response itself and writes on has a bug: its client has not left', async () => {
  await using proxy = await startProxy(async ({ writer }, _request, response) => {
    await writer.write({ data: chatChunk('Hi') })
    response.end()
    for (;;) await writer.write({ data: chatChunk('more') })
  })
  using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
  expect(client.body.complete).toBe(true)
  const { outcome, reason } = await proxy.end()
  expect(outcome).toBe('internal')
  expect(reason?.message).toBe('The response was ended elsewhere.')
})

/** An upstream whose answer says "Hello" and is held until `release` lets it end. */
async function startHeldAnswer() {
  const held = withResolvers()
  const upstream = await startUpstream(async (exchange) => {
    const [hello, ...rest] = chatAnswer('Hello')
    exchange.open().data(hello)
    await held.promise
    exchange.data(...rest).end()
  })
  return Object.assign(upstream, { release: held.resolve })
}

test('the end of the response leaves in one write with the terminal event', async () => {
  await using upstream = await startHeldAnswer()
  const writes: number[] = []
  await using server = await listen((request, response) => {
    const { socket } = request
    const spies = [vi.spyOn(socket, '_write'), vi.spyOn(socket, '_writev' as '_write')]
    void handleStream(response, async (stream) => stream.relay(await http(upstream.url, stream)), {
      onEnd: () => writes.push(spies.reduce((sum, { mock }) => sum + mock.calls.length, 0)),
    })
  })
  using client = await ask(server.port).received('Hello')
  upstream.release()
  await client.finished()
  expect(client.data.at(-1)).toBe('[DONE]')
  expect(client.body.complete).toBe(true)
  // One for the head and the first event, one for all the rest.
  await expect.poll(() => writes).toEqual([2])
})

test.each([
  ['aborted', new StreamError('aborted')],
  ['timeout', new StreamTimeoutError('total', 1)],
])(
  'a terminal event that comes as the stream is stopped (%s) is refused, and is not its end',
  async (outcome, reason) => {
    await using upstream = await startHeldAnswer()
    let relayed: unknown
    await using proxy = await startProxy(async (stream) => {
      const relay = stream.relay(await http(upstream.url, stream), (event) => {
        if (event.data === '[DONE]') clockOf(stream).settle(reason)
        return event
      })
      relayed = await relay.catch((error) => error)
    })
    using client = await ask(proxy.port).received('Hello')
    upstream.release()
    await client.finished()
    expect(await proxy.end()).toMatchObject({ outcome, reason, sawTerminal: false })
    expect(failureOf(client.data).code).toBe(reason.code)
    await expect.poll(() => relayed).toBe(reason)
  },
)

test.each([0, 1, 2, 3, 4, 5, 6])(
  'a terminal event that comes %d turns of promises before the stop: the record says what the client got',
  async (turns) => {
    const caller = new AbortController()
    const upstream = new TransformStream<Uint8Array>()
    const source = upstream.writable.getWriter()
    const [hello, ...rest] = chatAnswer('Hello').map(
      (data) => `data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`,
    )
    await using proxy = await startProxy((stream) => stream.relay(upstream.readable), {
      signal: caller.signal,
    })
    void source.write(Buffer.from(hello as string))
    using client = await ask(proxy.port).received('Hello')
    void source.write(Buffer.from(rest.join(''))).catch(() => {})
    for (let turn = 0; turn < turns; turn++) await undefined
    caller.abort()
    await client.finished()
    const isTold = client.data.at(-1) === '[DONE]'
    if (!isTold) expect(failureOf(client.data).code).toBe('request_aborted')
    expect(await proxy.end()).toMatchObject({
      outcome: isTold ? 'completed' : 'aborted',
      sawTerminal: isTold,
    })
  },
)

test('a write of a handler that hears of the stop is refused', async () => {
  let written: unknown
  await using proxy = await startProxy(
    async (stream) => {
      await stream.writer.write({ data: chatChunk('Hello') })
      stream.signal.addEventListener('abort', () => {
        written = stream.writer.write({ data: '[DONE]' }).catch((reason) => reason)
      })
      await new Promise(() => {})
    },
    { timeouts: { totalMs: 20 } },
  )
  using client = await ask(proxy.port).finished()
  const end = await proxy.end()
  expect(end).toMatchObject({ outcome: 'timeout', events: 2, sawTerminal: false })
  expect(failureOf(client.data).code).toBe('request_timeout_total')
  expect(await written).toBe(end.reason)
})

test('a whole answer whose head cannot be sent is not complete', async () => {
  await using upstream = await startHeldAnswer()
  upstream.release()
  await using proxy = await startProxy(async (stream, _request, response) => {
    const source = await http(upstream.url, stream)
    vi.spyOn(response, 'writeHead').mockImplementationOnce(() => {
      throw new Error('a hook of the app')
    })
    await stream.relay(source)
  })
  using client = await ask(proxy.port).finished()
  expect(client.status).toBe(500)
  expect(await proxy.end()).toMatchObject({ outcome: 'internal', events: 0, sawTerminal: false })
})

test('the terminal event comes when the handler has ended the response itself: it is not reported as complete', async () => {
  await using upstream = await startHeldAnswer()
  let relayed: unknown
  await using proxy = await startProxy(async (stream, _request, response) => {
    const source = await http(upstream.url, stream)
    const relay = stream.relay(source, (event) => {
      if (event.data === '[DONE]') response.end()
      return event
    })
    relayed = await relay.catch((error) => error)
    await relay
  })
  using client = await ask(proxy.port).received('Hello')
  upstream.release()
  await client.finished()
  const end = await proxy.end()
  expect(end).toMatchObject({ outcome: 'internal', reason: { message: 'The response was ended elsewhere.' } })
  expect(relayed).toBe(end.reason)
})

test('in a dialect of the app’s own, a stream that may simply end may say that it has', async () => {
  const dialect: StreamDialect = {
    ...dialects.plain,
    follow: () => ({
      ...dialects.plain.follow(),
      observe: ({ data }) => (data === 'over' ? 'terminal' : 'content'),
    }),
  }
  await using upstream = await startUpstream((exchange) => exchange.open().data('one', 'over').end())
  await using proxy = await startProxy(async (stream) => stream.relay(await http(upstream.url, stream)), {
    dialect,
  })
  using client = await ask(proxy.port).finished()
  expect(client.data).toEqual(['one', 'over'])
  expect(await proxy.end()).toMatchObject({ outcome: 'completed', sawTerminal: true })
})
