import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { channels, type HandleStreamOptions, handleStream, type StreamEnd } from '../src/index.js'
import { liveStreams } from '../src/live-streams.js'
import { chatAnswer, chatChunk, textOf } from './support/chat.js'
import { listen, startProxy, upstreamClients } from './support/proxy.js'
import { rawRequest } from './support/raw-client.js'
import { startUpstream } from './support/scripted-upstream.js'

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
      longestGapMs: expect.any(Number),
      events: 4,
      bytes: client.body.bytes.length,
      heartbeats: 0,
      sawTerminal: true,
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
    expect(order).toEqual(['start', 'head', 'timeout', 'recovery', 'end'])
    expect(seen.every(([, message]) => message.requestId === 'abc-2')).toBe(true)
    expect(seen.find(([name]) => name === 'timeout')?.[1]).toMatchObject({
      phase: 'inactivity',
      timeoutMs: 50,
    })
    expect(JSON.stringify(seen)).not.toContain('Hi')
  })

  test('an onEnd that throws changes nothing', async () => {
    await using proxy = await startProxy(({ writer }) => writer.write({ data: '[DONE]' }), {
      onEnd: () => {
        throw new Error('bug')
      },
    })
    using client = await ask(proxy.port).finished()
    expect(client.data).toEqual(['[DONE]'])
  })

  test('a failed handler that nobody listens to is printed; one that is heard is not', async () => {
    const print = vi.spyOn(console, 'error').mockImplementation(() => {})
    const bug = new Error('bug')
    const ended: Promise<StreamEnd>[] = []
    await using server = await listen((_request, response) => {
      ended.push(handleStream(response, () => Promise.reject(bug)))
    })
    using _client = await ask(server.port).finished()
    await ended[0]
    expect(print).toHaveBeenCalledExactlyOnceWith(expect.any(String), expect.any(String), bug)
    await using proxy = await startProxy(() => Promise.reject(bug))
    using _other = await ask(proxy.port).finished()
    await proxy.end()
    expect(print).toHaveBeenCalledTimes(1)
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

  test('one that says nothing has not answered: never an empty 200', async () => {
    await using proxy = await startProxy(() => {})
    using client = await ask(proxy.port).finished()
    expect(client.status).toBe(502)
    expect(client.json.error.code).toBe('upstream_truncated')
  })

  test('two that fail as the client leaves are told apart', async () => {
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
    [{ timeout: 5 }, 'options.timeout is not an option; there are timeouts, writer'],
    [{ timeouts: { totalMs: 0 } }, 'timeouts.totalMs'],
    [{ writer: { heartbeatMs: 0 } }, 'writer.heartbeatMs'],
    [{ relay: { maxEventBytes: 0 } }, 'relay.maxEventBytes'],
    [{ relay: { onTruncated: 'ignore' } }, "relay.onTruncated must be 'error' or 'accept', got ignore"],
    [{ cleanup: { graceMs: 0 } }, 'cleanup.graceMs'],
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
