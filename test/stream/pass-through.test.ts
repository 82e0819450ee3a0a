import { PassThrough, Readable } from 'node:stream'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Transcript } from '../../src/dialects/transcript.js'
import { sse } from '../../src/framing/sse/index.js'
import type { HandleStreamOptions } from '../../src/index.js'
import { dialects } from '../../src/index.js'
import { PassThroughRelay } from '../../src/stream/pass-through.js'
import type { EventSink, RelayTarget } from '../../src/stream/relay-target.js'
import { chatAnswer, chatChunk, failureOf, textOf } from '../support/chat.js'
import { startProxy } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { wire } from '../support/wire.js'

/** The bytes that a client gets of these chunks, passed on. */
async function passed(chunks: readonly (string | Uint8Array)[], options: HandleStreamOptions = {}) {
  const source = Readable.from(chunks.map((chunk) => Buffer.from(chunk)))
  await using proxy = await startProxy((stream) => stream.relay(source), options)
  using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
  return { client, body: client.bodyText, end: await proxy.end() }
}

describe('the bytes that pass are the bytes that came', () => {
  test('byte for byte: names, ids, comments, unknown fields, line ends', async () => {
    const text =
      ': hi\r\n\r\nevent: a\r\nid: 1\r\nretry: 5\r\nfoo: bar\r\ndata:x\r\ndata: y\r\n\r\n:c\n\ndata\n\n'
    const { body, end } = await passed([text], { dialect: 'plain' })
    expect(body).toBe(text)
    expect(end).toMatchObject({ outcome: 'completed', events: 2 })
  })

  test('but for a byte order mark, to which some clients lose their first event', async () => {
    const { body } = await passed([`\ufeff${wire(...chatAnswer('Hi'))}`])
    expect(body).toBe(wire(...chatAnswer('Hi')))
  })

  test('up to the terminal event: nothing may follow it', async () => {
    const answer = wire(...chatAnswer('Hi'))
    const { body, end } = await passed([`${answer}: bye\n\n${wire('[DONE]', chatChunk('more'))}`])
    expect(body).toBe(answer)
    expect(end).toMatchObject({ outcome: 'completed', sawTerminal: true, events: 3 })
  })

  const cuts = fc.array(fc.nat(), { maxLength: 20 })

  test('through a whole proxy, too', async () => {
    const event = fc.string({ unit: 'grapheme' }).map((content) => chatChunk(content))
    await fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 1 }), cuts, async (events, at) => {
        const all = Buffer.from(wire(...events, chatChunk('', 'stop'), '[DONE]'))
        const places = [...new Set(at.map((place) => place % all.length))].sort((a, b) => a - b)
        const slices = [0, ...places].map((start, index) => all.subarray(start, places[index] ?? all.length))
        const { body, end } = await passed(slices)
        expect(body).toBe(all.toString())
        expect(end).toMatchObject({ outcome: 'completed', events: events.length + 2 })
      }),
      { numRuns: 50 },
    )
  })
})

describe('when it stops', () => {
  test('in the middle of an event: that is left out, so that the error can be read', async () => {
    const { client } = await passed([wire(chatChunk('Hello')), 'data: {"choices":[{"delta":{"con'])
    expect(client.bodyText.startsWith(`${wire(chatChunk('Hello'))}data: {"error"`)).toBe(true)
    expect(textOf(client.data)).toBe('Hello')
    expect(failureOf(client.data).code).toBe('upstream_truncated')
  })

  test('before the last blank line only: the event is whole, and is closed', async () => {
    const { body, end } = await passed([wire(...chatAnswer('Hi')).trimEnd()])
    expect(body).toBe(wire(...chatAnswer('Hi')))
    expect(end.outcome).toBe('completed')
  })

  test('after every choice has finished: [DONE] is added', async () => {
    const { body } = await passed([wire(...chatAnswer('Hi').slice(0, -1))])
    expect(body).toBe(wire(...chatAnswer('Hi')))
  })

  test.each([
    ['in one chunk', (long: string) => [wire(chatChunk('Hello')) + wire(chatChunk(long)) + wire('[DONE]')]],
    [
      'in many',
      (long: string) => [wire(chatChunk('Hello')), ...(wire(chatChunk(long)).match(/.{1,100}/gs) ?? [])],
    ],
  ])('at an event that is too long, %s', async (_how, chunks) => {
    const { client } = await passed(chunks('x'.repeat(3_000)), { relay: { maxEventBytes: 1_000 } })
    expect(textOf(client.data)).toBe('Hello')
    expect(failureOf(client.data).code).toBe('upstream_event_too_large')
  })
})

test('whole events before one that is too long arrive, also when all come at once', async () => {
  const text = `${wire(chatChunk('Hel'), chatChunk('lo'))}data: ${'x'.repeat(3_000)}`
  const { client } = await passed([text], { relay: { maxEventBytes: 1_000 } })
  expect(textOf(client.data)).toBe('Hello')
  expect(failureOf(client.data).code).toBe('upstream_event_too_large')
})

test('two relays: after the terminal event of one nothing of the other comes', async () => {
  const later = new PassThrough()
  await using proxy = await startProxy(async (stream) => {
    const second = stream.relay(later)
    await stream.relay(Readable.from([Buffer.from(wire(...chatAnswer('A')))]))
    later.end(wire(...chatAnswer('B')))
    await second
  })
  using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
  expect(client.bodyText).toBe(wire(...chatAnswer('A')))
})

test.each([
  ['an empty finish_reason', [chatChunk('Hi', ''), chatChunk(' there', '')]],
  ['one that is said with each chunk', [chatChunk('Hi', 'stop'), chatChunk(' there', 'stop')]],
])('%s is not an end', async (_what, chunks) => {
  const { client, end } = await passed([wire(...chunks)])
  expect(failureOf(client.data).code).toBe('upstream_truncated')
  expect(end.outcome).toBe('upstream_truncated')
})

test('a finish_reason of "error" is an error, whatever follows', async () => {
  const { client, end } = await passed([wire(chatChunk('Hi'), chatChunk('', 'error'), '[DONE]')])
  expect(end.outcome).toBe('upstream_error')
  expect(client.data).toHaveLength(2)
})

test('on an unknown path, an error in the first event has a status, too', async () => {
  for (const text of ['data: {"error":{"code":429}}\n\n', 'event: error\ndata: {"message":"no"}\n\n']) {
    const { client } = await passed([text], { dialect: 'plain' })
    expect(client.status).toBe(text.includes('429') ? 429 : 502)
  }
  const { end } = await passed(['data: x\n\n', 'event: error\ndata: mine\n\n', 'data: y\n\n'], {
    dialect: 'plain',
  })
  expect(end).toMatchObject({ outcome: 'completed', events: 3 })
})

test('an error that the AI SDK’s UI has read is followed by its [DONE]', async () => {
  const { client } = await passed([wire({ type: 'start' }, { type: 'error', errorText: 'no' })], {
    dialect: 'aiSdkUi',
  })
  expect(client.data.slice(1)).toEqual(['{"type":"error","errorText":"no"}', '[DONE]'])
})

test('a flood of comments before the first event is not remembered', async () => {
  const comments = Array.from({ length: 2_000 }, () => `: ${'x'.repeat(1_000)}\n\n`)
  const { client } = await passed([...comments, wire(...chatAnswer('Hi'))])
  expect(textOf(client.data)).toBe('Hi')
  expect(client.bodyText.length).toBeLessThan(64 * 1024)
})

test('bytes that are forwarded and not waited for have a limit', async () => {
  await using proxy = await startProxy(
    async ({ writer }) => {
      const bytes = Buffer.from(wire('x'.repeat(1_000_000)))
      for (let events = 0; events < 60; events++) writer.forward(bytes).catch(() => {})
      await new Promise(() => {})
    },
    { writer: { maxBufferedBytes: 4_000_000 } },
  )
  using client = rawRequest({ port: proxy.port, body: { stream: true } })
  client.socket.pause()
  expect(await proxy.end()).toMatchObject({ outcome: 'client_stalled' })
})

test('comments alone do not send the head, so that a failure still has a status', async () => {
  const { client } = await passed([': processing\n\n', ': processing\n\n'])
  expect(client.status).toBe(502)
})

test('a client that reads slowly is waited for', async () => {
  let sent = 0
  const flood = new Readable({
    highWaterMark: 64 * 1024,
    read() {
      sent++
      this.push(sent > 400 ? wire('[DONE]') : wire(chatChunk('x'.repeat(32 * 1024))))
      if (sent > 400) this.push(null)
    },
  })
  await using proxy = await startProxy((stream) => stream.relay(flood))
  using client = rawRequest({ port: proxy.port, body: { stream: true } })
  client.socket.pause()
  let before = -1
  while (before !== sent) {
    before = sent
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  expect(sent).toBeLessThan(400)
  client.socket.resume()
  await client.finished()
  expect(client.body.complete).toBe(true)
  expect(client.data).toHaveLength(401)
})

describe('PassThroughRelay', () => {
  const onTheWire = (data: unknown) => Buffer.from(wire(data))

  test('ends where other code has written the terminal event', () => {
    const forwarded: string[] = []
    const transcript = new Transcript(dialects.aiSdkUi)
    const sink: EventSink = {
      committed: true,
      observe: (event) => transcript.observe(event),
      accept(bytes) {
        forwarded.push(String(bytes))
        return undefined
      },
    }
    const target = { sink, transcript, clock: { touch() {}, content() {} } }
    const passing = new PassThroughRelay(target as unknown as RelayTarget, sse)
    const delta = (text: string) => onTheWire({ type: 'text-delta', id: '0', delta: text })
    for (const text of ['a', 'b', 'c']) expect(passing.push(delta(text))).toBeUndefined()
    expect(forwarded).toHaveLength(3)
    expect(transcript.observe({ data: '[DONE]' })).toBe('terminal')
    expect(passing.push(delta('d'))).toBe(false)
    expect(forwarded).toHaveLength(3)
  })
})
