import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import type { ResponseWriter } from '../../src/client/response-writer.js'
import { type HandleStreamOptions, handleStream, type StreamEnd } from '../../src/index.js'
import { chatAnswer, chatChunk, failureOf, textOf } from '../support/chat.js'
import { listen, startProxy, type TestProxy, upstreamClients } from '../support/proxy.js'
import { RawClient, rawRequest } from '../support/raw-client.js'
import { type Script, type ScriptedUpstream, startUpstream } from '../support/scripted-upstream.js'
import { synBlackhole } from '../support/syn-blackhole.js'

const clients = Object.entries(upstreamClients)
const { http } = upstreamClients

/** A proxy that relays one upstream, with one of the four clients. */
function relayTo(url: string, options: HandleStreamOptions = {}, open = http): Promise<TestProxy> {
  return startProxy(async (stream) => stream.relay(await open(url, stream)), options)
}

interface Scene extends AsyncDisposable {
  upstream: ScriptedUpstream
  proxy: TestProxy
  client: RawClient
}

/** One client, one proxy, one upstream that follows the script. */
async function scene(script: Script, options: HandleStreamOptions = {}, open = http): Promise<Scene> {
  const upstream = await startUpstream(script)
  const proxy = await relayTo(upstream.url, options, open)
  const client = rawRequest({ port: proxy.port, body: { stream: true } })
  return {
    upstream,
    proxy,
    client,
    async [Symbol.asyncDispose]() {
      client[Symbol.dispose]()
      await proxy[Symbol.asyncDispose]()
      await upstream[Symbol.asyncDispose]()
    },
  }
}

/** The client got these texts, then one error event, then the end of the body on a connection that stands. */
function expectCleanFailure(client: RawClient, text: string, code: string): void {
  expect(client.status).toBe(200)
  expect(client.body.complete).toBe(true)
  expect(client.ending).toBeUndefined()
  expect(textOf(client.data)).toBe(text)
  expect(failureOf(client.data).code).toBe(code)
}

function expectStatus(client: RawClient, status: number, code: string): void {
  expect(client.status).toBe(status)
  expect(client.body.complete).toBe(true)
  expect(client.json.error).toEqual({
    message: expect.stringMatching(/^[A-Z].*\.$/),
    type: expect.any(String),
    param: null,
    code,
  })
}

describe('before the head is sent, a failure has a status', () => {
  test('FM-01: an upstream that refuses the connection is 503 upstream_unreachable, to be retried', async () => {
    const gone = await startUpstream(() => {})
    await gone[Symbol.asyncDispose]()
    await using proxy = await relayTo(gone.url)
    using client = await rawRequest({ port: proxy.port, body: {} }).finished()
    expectStatus(client, 503, 'upstream_unreachable')
    expect(client.header('retry-after')).toBe('1')
    expect(client.header('x-should-retry')).toBe('true')
    expect(await proxy.end()).toMatchObject({ outcome: 'upstream_connect', status: 503 })
  })

  test('FM-01: a name that does not resolve is 503 upstream_unreachable', async () => {
    await using proxy = await relayTo('http://no-such-host.invalid')
    using client = await rawRequest({ port: proxy.port, body: {} }).finished()
    expectStatus(client, 503, 'upstream_unreachable')
    expect(client.text).not.toContain('no-such-host')
  })

  test('FM-02: a connection that is never taken is 504 at connectMs', async () => {
    await using blackhole = await synBlackhole()
    await using proxy = await relayTo(`http://127.0.0.1:${blackhole.port}`, { timeouts: { connectMs: 100 } })
    using client = await rawRequest({ port: proxy.port, body: {} }).finished()
    expectStatus(client, 504, 'upstream_connect_timeout')
    expect(await proxy.end()).toMatchObject({ outcome: 'timeout', phase: 'connect' })
  })

  test('FM-03: silence before the upstream’s head is 504 at firstByteMs, not to be retried', async () => {
    await using s = await scene(() => {}, { timeouts: { firstByteMs: 100 } })
    await s.client.finished()
    expectStatus(s.client, 504, 'upstream_first_byte_timeout')
    expect(s.client.header('x-should-retry')).toBe('false')
    await (await s.upstream.exchange(0)).closed
  })

  test('FM-04: an upstream’s head alone commits nothing: 504 at firstByteMs', async () => {
    await using s = await scene((exchange) => exchange.open(), { timeouts: { firstByteMs: 100 } })
    await s.client.finished()
    expectStatus(s.client, 504, 'upstream_first_byte_timeout')
    await (await s.upstream.exchange(0)).closed
  })

  test('FM-05: comments and role chunks are not content: 504 at firstEventMs', async () => {
    const role = { choices: [{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null }] }
    await using pinging = await scene((exchange) => exchange.open().chunk(': ping\n\n').data(role), {
      timeouts: { firstEventMs: 100, firstByteMs: 100 },
    })
    await pinging.client.finished()
    expect(failureOf(pinging.client.data).code).toBe('upstream_first_event_timeout')
    await using s = await scene((exchange) => exchange.open().chunk(': ping\n\n'), {
      timeouts: { firstEventMs: 100, firstByteMs: 100 },
    })
    await s.client.finished()
    expectStatus(s.client, 504, 'upstream_first_event_timeout')
    expect(await s.proxy.end()).toMatchObject({ phase: 'firstEvent' })
  })

  test.each(clients)('FM-12: %s, FIN before the head is 503 connection_reset', async (_name, open) => {
    await using s = await scene((exchange) => exchange.fin(), {}, open)
    await s.client.finished()
    expectStatus(s.client, 503, 'connection_reset')
    expect(s.client.header('retry-after')).toBe('1')
    expect(s.client.text).not.toMatch(/socket hang up|ECONNRESET/)
    expect(await s.proxy.end()).toMatchObject({ outcome: 'upstream_hangup' })
    expect(s.upstream.exchanges).toHaveLength(1)
  })

  test.each(clients)('FM-14: %s, a reset before the head is 503 connection_reset', async (_name, open) => {
    await using s = await scene((exchange) => exchange.reset(), {}, open)
    await s.client.finished()
    expectStatus(s.client, 503, 'connection_reset')
    expect(s.upstream.exchanges).toHaveLength(1)
  })

  test('FM-17: an end with no event at all is 502 upstream_truncated', async () => {
    await using s = await scene((exchange) => exchange.open().end())
    await s.client.finished()
    expectStatus(s.client, 502, 'upstream_truncated')
  })

  test('FM-18: a garbled status line is 502 upstream_protocol_error', async () => {
    await using s = await scene((exchange) => exchange.raw('HTTP/banana\r\n\r\n'))
    await s.client.finished()
    expectStatus(s.client, 502, 'upstream_protocol_error')
  })

  test.each(clients)('FM-19: %s, 429 with Retry-After is passed on', async (_name, open) => {
    const script: Script = (exchange) =>
      exchange.answer('429 Slow Down', '{"error":"org-secret is over its quota"}', 'Retry-After: 17')
    await using s = await scene(script, {}, open)
    await s.client.finished()
    expectStatus(s.client, 429, 'rate_limit_exceeded')
    expect(s.client.header('retry-after')).toBe('17')
    expect(s.client.text).not.toContain('org-secret')
    expect(await s.proxy.end()).toMatchObject({ outcome: 'upstream_error', status: 429 })
    // Its connection is sound: the next request goes over it.
    using again = await rawRequest({ port: s.proxy.port, body: {} }).finished()
    expect(again.status).toBe(429)
    expect(s.upstream.connections).toBe(1)
  })

  test('FM-19: what the upstream says is shown with exposeUpstreamErrors', async () => {
    const script: Script = (exchange) => exchange.answer('429 Slow Down', 'Try again at noon')
    await using s = await scene(script, { exposeUpstreamErrors: true })
    await s.client.finished()
    expect(s.client.json.error.message).toContain('Try again at noon')
  })

  test.each([401, 403, 404, 500, 503])('FM-20: status %i is passed on, never 200', async (status) => {
    await using s = await scene((exchange) => exchange.answer(`${status} No`, '{"error":"no"}'))
    await s.client.finished()
    expectStatus(s.client, status, 'upstream_error')
  })

  test('FM-20: the slow body of an error is bounded by inactivityMs', async () => {
    const script: Script = (exchange) =>
      exchange.open('Content-Type: application/json', '500 No').chunk('{"err')
    await using s = await scene(script, { timeouts: { inactivityMs: 100, firstByteMs: 10_000 } })
    await s.client.finished()
    expectStatus(s.client, 504, 'upstream_inactivity_timeout')
    await (await s.upstream.exchange(0)).closed
  })

  test.each([
    ['a web page', 'Content-Type: text/html', '<html>hello</html>'],
    ['a JSON error', 'Content-Type: application/json', '{"error":{"message":"no"}}'],
    ['a web page under a wrong name', 'Content-Type: text/event-stream', '<html>\n<p>hello</p>\n</html>\n'],
  ])('a 200 that carries %s is 502', async (_name, headers, body) => {
    await using s = await scene((exchange) => exchange.answer('200 OK', body, headers))
    await s.client.finished()
    expect(s.client.status).toBe(502)
    expect(s.client.json.error.type).toBe('server_error')
  })
})

describe('after the head is sent, a failure is an event and a clean end', () => {
  test('FM-04: after headersAfterMs the wait is a stream with heartbeats', async () => {
    await using s = await scene((exchange) => exchange.open(), {
      timeouts: { firstByteMs: 200 },
      writer: { headersAfterMs: 20, heartbeatMs: 20 },
    })
    await s.client.finished()
    expect(s.client.bodyText).toMatch(/^:\n\n(:\n\n)*data: \{"error":/)
    expectCleanFailure(s.client, '', 'upstream_first_byte_timeout')
    expect((await s.proxy.end()).heartbeats).toBeGreaterThan(0)
  })

  test('FM-06: silence mid-stream ends at inactivityMs', async () => {
    await using s = await scene((exchange) => exchange.open().data(chatChunk('Hello')), {
      timeouts: { inactivityMs: 100 },
    })
    await s.client.finished()
    expectCleanFailure(s.client, 'Hello', 'upstream_inactivity_timeout')
    await (await s.upstream.exchange(0)).closed
  })

  test('FM-07: pings without content end at upstreamStallMs; they are activity all the same', async () => {
    let pings: NodeJS.Timeout | undefined
    const script: Script = (exchange) => {
      exchange.open().data(chatChunk('Hello'))
      pings = setInterval(() => exchange.chunk(': ping\n\n'), 20)
      void exchange.closed.then(() => clearInterval(pings))
    }
    await using s = await scene(script, {
      timeouts: { inactivityMs: 2_000, upstreamStallMs: 2_000, totalMs: 60_000 },
    })
    await s.client.finished()
    expectCleanFailure(s.client, 'Hello', 'upstream_stalled')
    expect(await s.proxy.end()).toMatchObject({ outcome: 'timeout', phase: 'upstreamStall' })
  })

  test('FM-08: a drip that never ends is ended at totalMs', async () => {
    const script: Script = (exchange) => {
      exchange.open()
      const drip = setInterval(() => exchange.data(chatChunk('.')), 20)
      void exchange.closed.then(() => clearInterval(drip))
    }
    await using s = await scene(script, { timeouts: { totalMs: 400 } })
    await s.client.finished()
    expect(failureOf(s.client.data).code).toBe('request_timeout_total')
    expect(textOf(s.client.data)).toMatch(/^\.+$/)
    expect(s.client.body.complete).toBe(true)
  })

  test('FM-09: a process that was too busy to look does not blame the upstream', async () => {
    await using s = await scene((exchange) => exchange.open().data(chatChunk('Hello')), {
      timeouts: { inactivityMs: 300 },
    })
    await s.client.received('Hello')
    const upstream = await s.upstream.exchange(0)
    // The rest lies in the kernel before the loop is blocked beyond the deadline.
    await new Promise((resolve) =>
      upstream
        .data(...chatAnswer(' world'))
        .end()
        .socket.write('', resolve),
    )
    for (const until = performance.now() + 500; performance.now() < until; );
    await s.client.finished()
    expect(s.client.data.at(-1)).toBe('[DONE]')
    expect(await s.proxy.end()).toMatchObject({ outcome: 'completed' })
  })

  test.each(clients)('FM-11: %s, a reset after the terminal event is a normal end', async (_name, open) => {
    await using s = await scene(
      (exchange) =>
        exchange
          .open()
          .data(...chatAnswer('Hello'))
          .reset(),
      {},
      open,
    )
    await s.client.finished()
    expect(s.client.data.filter((data) => data === '[DONE]')).toHaveLength(1)
    expect(textOf(s.client.data)).toBe('Hello')
    expect(s.client.body.complete).toBe(true)
    expect(await s.proxy.end()).toMatchObject({ outcome: 'completed', sawTerminal: true })
  })

  test.each(clients)('FM-15: %s, FIN in the middle', async (_name, open) => {
    await using s = await scene(
      (exchange) => exchange.open().data(chatChunk('Hel'), chatChunk('lo')).fin(),
      {},
      open,
    )
    await s.client.finished()
    expectCleanFailure(s.client, 'Hello', 'connection_reset')
    expect(await s.proxy.end()).toMatchObject({ outcome: 'upstream_hangup' })
  })

  test.each(clients)('FM-15: %s, a reset in the middle', async (_name, open) => {
    await using s = await scene(
      (exchange) => exchange.open().data(chatChunk('Hel'), chatChunk('lo')),
      {},
      open,
    )
    await s.client.received('lo')
    await (await s.upstream.exchange(0)).reset()
    await s.client.finished()
    expectCleanFailure(s.client, 'Hello', 'connection_reset')
  })

  test.each(clients)('FM-16: %s, less than the content-length', async (_name, open) => {
    const event = `data: ${JSON.stringify(chatChunk('Hello'))}\n\n`
    const head = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9000\r\n\r\n'
    await using s = await scene((exchange) => exchange.raw(head + event).fin(), {}, open)
    await s.client.finished()
    expectCleanFailure(s.client, 'Hello', 'connection_reset')
  })

  test.each(clients)(
    'FM-17: %s, a clean end without a terminal event is not a success',
    async (_name, open) => {
      await using s = await scene((exchange) => exchange.open().data(chatChunk('Hello')).end(), {}, open)
      await s.client.finished()
      expectCleanFailure(s.client, 'Hello', 'upstream_truncated')
      expect(s.client.bodyText).not.toContain('"stop"')
    },
  )

  test('FM-17: so is a close-delimited body that simply stops', async () => {
    const event = `data: ${JSON.stringify(chatChunk('Hello'))}\n\n`
    const script: Script = (exchange) =>
      exchange.raw(`HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n${event}`).fin()
    await using s = await scene(script)
    await s.client.finished()
    expectCleanFailure(s.client, 'Hello', 'upstream_truncated')
  })

  test('FM-17: onTruncated: accept takes any end for the end', async () => {
    const script: Script = (exchange) => exchange.open().data(chatChunk('Hello')).end()
    await using s = await scene(script, { relay: { onTruncated: 'accept' } })
    await s.client.finished()
    expect(s.client.data.at(-1)).toBe('[DONE]')
    expect(await s.proxy.end()).toMatchObject({ outcome: 'completed' })
  })

  test('FM-17: one finished choice of two is not the end', async () => {
    const script: Script = (exchange) =>
      exchange
        .open()
        .data(chatChunk('a', null, 0), chatChunk('b', null, 1), chatChunk('', 'stop', 0))
        .end()
    await using s = await scene(script)
    await s.client.finished()
    expect(failureOf(s.client.data).code).toBe('upstream_truncated')
  })

  test('a finish_reason and the end, without [DONE], is complete', async () => {
    const script: Script = (exchange) => exchange.open().data(chatChunk('Hello'), chatChunk('', 'stop')).end()
    await using s = await scene(script)
    await s.client.finished()
    expect(s.client.data.filter((data) => data === '[DONE]')).toHaveLength(1)
    expect(s.client.data.at(-1)).toBe('[DONE]')
  })

  test('FM-18: a garbled chunk size', async () => {
    await using s = await scene((exchange) => exchange.open().data(chatChunk('Hello')))
    await s.client.received('Hello')
    ;(await s.upstream.exchange(0)).raw('zz\r\nrubbish')
    await s.client.finished()
    expectCleanFailure(s.client, 'Hello', 'upstream_protocol_error')
  })

  const failing: Script = (exchange) =>
    exchange
      .open()
      .data(chatChunk('Hello'), { error: { message: 'internal-host-17 is down' } })
      .end()

  test('an error event of a translated upstream becomes one in the client’s dialect', async () => {
    await using upstream = await startUpstream(failing)
    await using proxy = await startProxy(async (stream) => {
      await stream.relay(await http(upstream.url, stream), (event) => event)
    })
    using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
    expectCleanFailure(client, 'Hello', 'upstream_error')
    expect(client.text).not.toContain('internal-host-17')
  })

  test('FM-21: one that comes later is passed on as it is, and none is added', async () => {
    await using s = await scene(failing)
    await s.client.finished()
    expect(s.client.body.complete).toBe(true)
    expect(s.client.data).toEqual([
      JSON.stringify(chatChunk('Hello')),
      '{"error":{"message":"internal-host-17 is down"}}',
    ])
    expect(await s.proxy.end()).toMatchObject({ outcome: 'upstream_error', sawTerminal: false })
  })

  test.each([
    [{ error: { code: 429, message: 'slow down' } }, 429, 'rate_limit_exceeded'],
    [{ error: { type: 'authentication_error', message: 'no' } }, 401, 'upstream_error'],
    [{ type: 'error', error: { type: 'overloaded_error', message: 'busy' } }, 529, 'upstream_error'],
    [{ error: 'something' }, 502, 'upstream_error'],
  ])('FM-21: a 200 whose first event is the error %j has the status %i', async (error, status, code) => {
    await using s = await scene((exchange) => exchange.open().chunk(': hello\n\n').data(error).end())
    await s.client.finished()
    expectStatus(s.client, status, code)
    expect(await s.proxy.end()).toMatchObject({ outcome: 'upstream_error', status })
  })
})

describe('the client leaves', () => {
  test.each(clients)(
    'FM-22: %s, before the head: nothing is written, the upstream is let go',
    async (_name, open) => {
      await using s = await scene(() => {}, {}, open)
      const upstream = await s.upstream.exchange(0)
      s.client.reset()
      await upstream.closed
      expect(await s.proxy.end()).toMatchObject({ outcome: 'client_gone', status: undefined, bytes: 0 })
    },
  )

  test('FM-22: while the connection is being made', async () => {
    await using blackhole = await synBlackhole()
    await using proxy = await startProxy(async (stream, request) => {
      const opening = http(`http://127.0.0.1:${blackhole.port}`, stream)
      request.socket.destroy()
      await opening
    })
    using client = await rawRequest({ port: proxy.port, body: {} }).closed()
    expect(await proxy.end()).toMatchObject({ outcome: 'client_gone' })
    expect(client.text).toBe('')
  })

  test.each(clients)('FM-23: %s, mid-stream: no write after, the upstream is let go', async (_name, open) => {
    await using s = await scene((exchange) => exchange.open().data(chatChunk('Hello')), {}, open)
    await s.client.received('Hello')
    s.client.reset()
    await (await s.upstream.exchange(0)).closed
    expect(await s.proxy.end()).toMatchObject({ outcome: 'client_gone', events: 1 })
  })

  test('FM-24: before the stream began: the handler is never called', async () => {
    let handled = false
    let ended: (end: StreamEnd) => void = () => {}
    const end = new Promise<StreamEnd>((resolve) => {
      ended = resolve
    })
    await using server = await listen(async (_request, response) => {
      await once(response, 'close')
      const handler = () => {
        handled = true
      }
      ended(await handleStream(response, handler))
    })
    using client = rawRequest({ port: server.port, body: {} })
    await once(client.socket, 'connect')
    client.reset()
    expect(await end).toMatchObject({ outcome: 'client_gone', status: undefined })
    expect(handled).toBe(false)
  })

  test('FM-25: while the proxy waits for it to read: the wait ends with it', async () => {
    const filler = 'x'.repeat(64 * 1024)
    const draining = { seen: () => {} }
    const seen = new Promise<void>((resolve) => {
      draining.seen = resolve
    })
    await using proxy = await startProxy(async ({ writer, deadlines }) => {
      for (;;) {
        const ready = writer.write({ data: filler })
        if (deadlines.phase === 'clientStall') draining.seen()
        await ready
      }
    })
    using client = rawRequest({ port: proxy.port, body: {} })
    client.socket.pause()
    await seen
    client.reset()
    expect(await proxy.end()).toMatchObject({ outcome: 'client_gone' })
  })

  test('FM-26: while it is still sending its request: the upstream is never called', async () => {
    await using upstream = await startUpstream(() => {})
    await using proxy = await startProxy(async (stream, request) => {
      for await (const _ of request);
      await stream.relay(await http(upstream.url, stream))
    })
    using client = new RawClient(proxy.port)
    client.send({ body: 'half of it', headers: { 'Content-Length': '9000' } })
    await once(client.socket, 'connect')
    client.reset()
    expect(await proxy.end()).toMatchObject({ outcome: 'client_gone' })
    expect(upstream.exchanges).toHaveLength(0)
  })
})

describe('the client reads slowly, or not at all', () => {
  const event = `data: ${JSON.stringify(chatChunk('x'.repeat(16 * 1024)))}\n\n`
  /** Sends without end, and stops when it is not read. */
  const flood: Script = async (exchange) => {
    exchange.open()
    while (!exchange.socket.destroyed) {
      exchange.chunk(event)
      if (exchange.socket.writableNeedDrain) await exchange.drained()
    }
  }

  test.each(clients)(
    'FM-27: %s, it stops: memory stays bounded, it is let go at clientStallMs',
    async (_name, open) => {
      await using upstream = await startUpstream(flood)
      let mostBacklog = 0
      await using proxy = await startProxy(
        async (stream) => {
          const look = setInterval(() => {
            mostBacklog = Math.max(mostBacklog, stream.writer.bytes - (stream.writer as ResponseWriter).taken)
          }, 10)
          try {
            await stream.relay(await open(upstream.url, stream))
          } finally {
            clearInterval(look)
          }
        },
        { timeouts: { clientStallMs: 300, inactivityMs: 100, totalMs: 60_000 } },
      )
      using client = rawRequest({ port: proxy.port, body: {} })
      client.socket.pause()
      expect(await proxy.end()).toMatchObject({ outcome: 'client_stalled', phase: 'clientStall' })
      await (await upstream.exchange(0)).closed
      expect(mostBacklog).toBeLessThan(1024 * 1024)
    },
  )

  test('FM-28: it is slow: the upstream is not blamed for the wait', async () => {
    const script: Script = (exchange) => {
      exchange.open()
      for (let sent = 0; sent < 640; sent++) exchange.chunk(event)
      exchange.data(...chatAnswer('end')).end()
    }
    await using s = await scene(script, { timeouts: { inactivityMs: 100, clientStallMs: 10_000 } })
    s.client.socket.pause()
    const upstream = await s.upstream.exchange(0)
    // The wait is many times inactivityMs, and the stream waits for the client.
    await new Promise((resolve) => setTimeout(resolve, 500))
    expect(upstream.socket.destroyed).toBe(false)
    s.client.socket.resume()
    await s.client.finished()
    expect(s.client.data).toHaveLength(643)
    expect(s.client.data.at(-1)).toBe('[DONE]')
    expect(await s.proxy.end()).toMatchObject({ outcome: 'completed' })
  })

  test.each(['in the middle', 'at the end'])(
    'FM-28: it takes a large event slowly, %s: it moves, so it is not cut off',
    async (where) => {
      const total = 24 * 1024 * 1024
      await using proxy = await startProxy(
        async ({ writer }) => {
          void writer.write({ data: chatChunk('x'.repeat(total)) })
          if (where === 'in the middle') await writer.write({ data: chatChunk('y') })
          await writer.write({ data: chatChunk('', 'stop') })
        },
        { timeouts: { clientStallMs: 1_000 }, writer: { maxBufferedBytes: 2 * total } },
      )
      using client = rawRequest({ port: proxy.port, body: {} })
      const { socket } = client
      // A sip at a time: the waits are shorter than clientStallMs, all of them together are longer.
      for (let sips = 0, goal = 0; sips < 11; sips++) {
        goal += 2 * 1024 * 1024
        socket.resume()
        while (socket.bytesRead < goal) await once(socket, 'data')
        socket.pause()
        await new Promise((resolve) => setTimeout(resolve, 150))
      }
      socket.resume()
      await client.finished()
      expect(client.data.at(-1)).toBe('[DONE]')
      expect(await proxy.end()).toMatchObject({ outcome: 'completed' })
    },
  )

  test('FM-29: it does not read the end: it is let go at clientStallMs', async () => {
    await using proxy = await startProxy(
      async ({ writer }) => {
        writer.write({ data: 'x'.repeat(8 * 1024 * 1024) })
        writer.write({ data: '[DONE]' })
      },
      { timeouts: { clientStallMs: 200 } },
    )
    using client = rawRequest({ port: proxy.port, body: {} })
    client.socket.pause()
    expect(await proxy.end()).toMatchObject({ outcome: 'client_stalled' })
  })

  test('a handler that does not wait for its writes is stopped at maxBufferedBytes', async () => {
    await using proxy = await startProxy(
      async ({ writer, signal }) => {
        while (!signal.aborted) {
          writer.write({ data: 'x'.repeat(64 * 1024) })
          await new Promise(setImmediate)
        }
      },
      { writer: { maxBufferedBytes: 1024 * 1024 } },
    )
    using client = rawRequest({ port: proxy.port, body: {} })
    client.socket.pause()
    expect(await proxy.end()).toMatchObject({ outcome: 'client_stalled' })
  })

  test.each(clients)('%s: an endless line ends at maxEventBytes', async (_name, open) => {
    const script: Script = async (exchange) => {
      exchange.open().data(chatChunk('Hello')).chunk('data: ')
      while (!exchange.socket.destroyed) {
        exchange.chunk('x'.repeat(64 * 1024))
        await new Promise(setImmediate)
      }
    }
    await using s = await scene(script, { relay: { maxEventBytes: 1024 * 1024 } }, open)
    await s.client.finished()
    expectCleanFailure(s.client, 'Hello', 'upstream_event_too_large')
    expect(failureOf(s.client.data).message).toContain('1048576 bytes')
  })
})

describe('several things at once', () => {
  test('FM-10: the terminal event and the deadline in one turn: a normal end', async () => {
    await using s = await scene((exchange) => exchange.open().data(chatChunk('Hello')), {
      timeouts: { inactivityMs: 200 },
    })
    await s.client.received('Hello')
    const upstream = await s.upstream.exchange(0)
    for (const until = performance.now() + 250; performance.now() < until; );
    upstream.data(chatChunk('', 'stop'), '[DONE]').end()
    await s.client.finished()
    expect(s.client.data.at(-1)).toBe('[DONE]')
    expect(await s.proxy.end()).toMatchObject({ outcome: 'completed' })
  })

  test('FM-31: a deadline while the error event is being written: one error event, the first outcome', async () => {
    await using s = await scene((exchange) => exchange.open().data(chatChunk('Hello')), {
      timeouts: { totalMs: 210, inactivityMs: 200 },
    })
    await s.client.received('Hello')
    const upstream = await s.upstream.exchange(0)
    const reset = upstream.reset()
    for (const until = performance.now() + 250; performance.now() < until; );
    await reset
    await s.client.finished()
    failureOf(s.client.data)
    expect(s.proxy.ends).toHaveLength(1)
  })

  test('FM-32: the caller’s signal has aborted: no upstream call', async () => {
    await using upstream = await startUpstream(() => {})
    const cause = new Error('maintenance')
    await using proxy = await relayTo(upstream.url, { signal: AbortSignal.abort(cause) })
    using client = await rawRequest({ port: proxy.port, body: {} }).finished()
    expectStatus(client, 499, 'request_aborted')
    expect((await proxy.end()).reason?.cause).toBe(cause)
    expect(upstream.exchanges).toHaveLength(0)
  })

  test.each(clients)('FM-33: %s, the caller aborts mid-stream', async (_name, open) => {
    const controller = new AbortController()
    const options = { signal: controller.signal }
    await using s = await scene((exchange) => exchange.open().data(chatChunk('Hello')), options, open)
    await s.client.received('Hello')
    controller.abort(new Error('maintenance'))
    await s.client.finished()
    expectCleanFailure(s.client, 'Hello', 'request_aborted')
    expect(await s.proxy.end()).toMatchObject({ outcome: 'aborted', suppressed: [] })
    await (await s.upstream.exchange(0)).closed
  })

  test('a handler that throws mid-stream: its words stay inside', async () => {
    await using proxy = await startProxy(
      async ({ writer }) => {
        await writer.write({ data: chatChunk('Hello') })
        throw new Error('password=hunter2')
      },
      { onEnd: () => true },
    )
    using client = await rawRequest({ port: proxy.port, body: {} }).finished()
    expectCleanFailure(client, 'Hello', 'internal_error')
    expect(client.text).not.toContain('hunter2')
    expect((await proxy.end()).reason?.cause).toMatchObject({ message: 'password=hunter2' })
  })

  test('a handler that ignores the signal cannot keep its client waiting', async () => {
    await using proxy = await startProxy(() => new Promise(() => {}), { timeouts: { firstByteMs: 50 } })
    using client = await rawRequest({ port: proxy.port, body: {} }).finished()
    expectStatus(client, 504, 'upstream_first_byte_timeout')
  })

  test('a handler that forgets to wait for its relay loses nothing', async () => {
    await using upstream = await startUpstream((exchange) =>
      exchange
        .open()
        .data(...chatAnswer('Hello'))
        .end(),
    )
    await using proxy = await startProxy(async (stream) => {
      void stream.relay(await http(upstream.url, stream))
    })
    using client = await rawRequest({ port: proxy.port, body: {} }).finished()
    expect(textOf(client.data)).toBe('Hello')
  })
})

describe('the upstream’s connection', () => {
  test('FM-48: [DONE] ends the stream at once; an upstream that stays is let go after lingerMs', async () => {
    await using s = await scene((exchange) => exchange.open().data(...chatAnswer('Hello')), {
      cleanup: { lingerMs: 100 },
    })
    await s.client.finished()
    expect(s.client.data.at(-1)).toBe('[DONE]')
    expect(await s.proxy.end()).toMatchObject({ outcome: 'completed' })
    await (await s.upstream.exchange(0)).closed
  })

  test.each(clients)(
    'FM-49: %s, ten streams in a row use one connection on either side',
    async (_name, open) => {
      await using upstream = await startUpstream((exchange) =>
        exchange
          .open()
          .data(...chatAnswer('Hello'))
          .end(),
      )
      await using proxy = await relayTo(upstream.url, {}, open)
      using client = new RawClient(proxy.port)
      for (let stream = 0; stream < 10; stream++) {
        client.send({ body: {} })
        await client.until(() => client.text.split('[DONE]').length === stream + 2)
        await proxy.end(stream)
        // The next request may only be sent when this one's last bytes are here.
        await client.until(() => client.text.endsWith('0\r\n\r\n'))
      }
      expect(upstream.exchanges).toHaveLength(10)
      expect(upstream.connections).toBe(1)
      expect(client.ending).toBeUndefined()
    },
  )
})
