import { once } from 'node:events'
import { Agent, get } from 'node:http'
import { Readable } from 'node:stream'
import { describe, expect, test, vi } from 'vitest'
import {
  createSSEWriter,
  dialects,
  type EventSourceMessage,
  type RelayOptions,
  type RelayResult,
  relayEventStream,
  type UpstreamSource,
} from '../../src/index.js'
import { chatAnswer, chatChunk, textOf } from '../support/chat.js'
import { listen } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { wire } from '../support/wire.js'

/** Relays a source to a client, closes, and returns the result. */
async function relay(source: UpstreamSource, options?: RelayOptions) {
  let result: RelayResult | undefined
  let error: unknown
  const writes: number[] = []
  await using server = await listen(async (_request, response) => {
    const write = vi.spyOn(response, 'write')
    const writer = createSSEWriter(response)
    try {
      result = await relayEventStream(source, writer, options)
    } catch (thrown) {
      error = thrown
    }
    await new Promise(setImmediate)
    writes.push(write.mock.calls.length)
    writer.close()
  })
  using client = await rawRequest({ port: server.port }).finished()
  return { result, error, client, data: client.data, writes: writes[0] }
}

test('every event as it is: name, id and data', async () => {
  const { client, result } = await relay(Readable.from(['event: a\nid: 1\ndata: x\ndata: y\n\ndata: z\n\n']))
  expect(client.events).toEqual([
    { event: 'a', id: '1', data: 'x\ny' },
    { event: undefined, id: undefined, data: 'z' },
  ])
  expect(result).toEqual({ received: 2, sawTerminal: false })
})

test('all events of one chunk go out in one write', async () => {
  const { writes, data } = await relay(Readable.from([wire('a', 'b', 'c', 'd')], { objectMode: false }))
  expect(data).toEqual(['a', 'b', 'c', 'd'])
  expect(writes).toBe(1)
})

test('so do chunks that come together', async () => {
  const upstream = new Readable({ read() {} })
  const names = Array.from({ length: 100 }, (_, index) => `event ${index}`)
  const send = (some: string[]) => {
    for (const name of some) upstream.push(wire(name))
  }
  setImmediate(async () => {
    send(names.slice(0, 50))
    await new Promise(setImmediate)
    send(names.slice(50))
    upstream.push(null)
  })
  const { writes, data } = await relay(upstream)
  expect(data).toEqual(names)
  expect(writes).toBeLessThan(10)
})

test('map makes one event, several, or none of each', async () => {
  const { data } = await relay(Readable.from([wire('one', 'two', 'none', 'nothing')]), {
    map: ({ data: name }) => {
      if (name === 'one') return { data: 1 }
      if (name === 'two') return [{ data: 'a' }, { data: 'b' }]
      return name === 'none' ? null : undefined
    },
  })
  expect(data).toEqual(['1', 'a', 'b'])
})

test('an error that map throws ends the relay, after the events before it', async () => {
  const bug = new Error('bug')
  const { data, error } = await relay(Readable.from([wire('a', 'bad', 'c')]), {
    map: (event) => {
      if (event.data === 'bad') throw bug
      return event
    },
  })
  expect(data).toEqual(['a'])
  expect(error).toBe(bug)
})

describe('the end', () => {
  test('the terminal event is the last, even if the upstream goes on', async () => {
    const endless = new Readable({ read() {} })
    endless.push(wire(...chatAnswer('Hi'), chatChunk('more'), '[DONE]'))
    const { data, result } = await relay(endless, { dialect: dialects.openaiChat })
    expect(data.filter((event) => event === '[DONE]')).toHaveLength(1)
    expect(textOf(data)).toBe('Hi')
    expect(result).toMatchObject({ sawTerminal: true })
    expect(endless.destroyed).toBe(false)
  })

  test('an end without it is upstream_truncated, unless that is accepted', async () => {
    const cutOff = () => Readable.from([wire(chatChunk('Hi'))])
    expect((await relay(cutOff(), { dialect: dialects.openaiChat })).error).toMatchObject({
      outcome: 'upstream_truncated',
    })
    expect(
      (await relay(cutOff(), { dialect: dialects.openaiChat, onTruncated: 'accept' })).error,
    ).toBeUndefined()
    expect((await relay(cutOff())).error).toBeUndefined()
  })

  test('an upstream that said nothing at all is truncated in any dialect', async () => {
    expect((await relay(Readable.from([]))).error).toMatchObject({ outcome: 'upstream_truncated' })
    expect((await relay(Readable.from([':\n\n']), { dialect: dialects.plain })).error).toMatchObject({
      outcome: 'upstream_truncated',
    })
  })

  test('an error the upstream reports is thrown, and not passed on where there is a map', async () => {
    const { data, error } = await relay(Readable.from([wire(chatChunk('Hi'), { error: 'secret' })]), {
      dialect: dialects.openaiChat,
      map: (event) => event,
    })
    expect(error).toMatchObject({ outcome: 'upstream_error', detail: 'secret' })
    expect(data.join('')).not.toContain('secret')
  })
})

test('the connection of an upstream that has said all serves the next request', async () => {
  await using upstream = await listen((_request, response) => {
    response.write(wire(chatChunk('Hi')))
    setImmediate(() => response.end(wire(chatChunk('', 'stop'), '[DONE]')))
  })
  const agent = new Agent({ keepAlive: true, timeout: 5_000, maxSockets: 1 })
  const options = { dialect: dialects.openaiChat }
  for (let request = 0; request < 2; request++) {
    const [answer] = await once(get({ port: upstream.port, agent }), 'response')
    const { data, error } = await relay(answer, options)
    expect(error).toBeUndefined()
    expect(textOf(data)).toBe('Hi')
  }
})

test('it reads no further than the client does', async () => {
  let chunks = 0
  const flood = new Readable({
    highWaterMark: 64 * 1024,
    read() {
      chunks++
      this.push(chunks > 2_000 ? null : wire('x'.repeat(16 * 1024)))
    },
  })
  await using server = await listen(async (_request, response) => {
    const writer = createSSEWriter(response)
    await relayEventStream(flood, writer)
    writer.close()
  })
  using client = rawRequest({ port: server.port })
  client.socket.pause()
  // Nothing moves any more once two looks, a while apart, see the same.
  for (let before = -1; before !== chunks; ) {
    before = chunks
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  expect(chunks).toBeLessThan(1_000)
  client.socket.resume()
  await client.finished()
  expect(client.data).toHaveLength(2_000)
})

describe.each<[string, (chunk: string) => UpstreamSource]>([
  ['a Node stream', (chunk) => Readable.from([Buffer.from(chunk)])],
  [
    'an iterable',
    async function* (chunk) {
      yield chunk
    },
  ],
])('a large chunk is translated as the client reads it: %s', (_name, sourceOf) => {
  test('no further than that, and all of it', async () => {
    const events = 4_000
    let mapped = 0
    await using server = await listen(async (_request, response) => {
      const writer = createSSEWriter(response)
      await relayEventStream(sourceOf('data: é\n\n'.repeat(events)), writer, {
        map: ({ data }) => ({ data: `${++mapped} ${data}${'x'.repeat(4 * 1024)}` }),
      })
      writer.close()
    })
    using client = rawRequest({ port: server.port })
    client.socket.pause()
    for (let before = -1; before !== mapped; ) {
      before = mapped
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    expect(mapped).toBeLessThan(events)
    client.socket.resume()
    await client.finished()
    expect(client.data.map((data) => data.slice(0, data.indexOf('x')))).toEqual(
      Array.from({ length: events }, (_, index) => `${index + 1} é`),
    )
  })

  test('the terminal event in it ends the relay, though the upstream goes on', async () => {
    let mapped = 0
    const endless = new Readable({ read() {} })
    endless.push(`${'data: x\n\n'.repeat(1_500)}data: [DONE]\n\n`)
    await using server = await listen(async (_request, response) => {
      const writer = createSSEWriter(response)
      await relayEventStream(endless, writer, {
        dialect: dialects.openaiChat,
        map: ({ data }) => {
          mapped++
          return data === '[DONE]' ? { data } : { data: chatChunk('x') }
        },
      })
      writer.close()
    })
    using client = await rawRequest({ port: server.port }).finished()
    expect(client.data.at(-1)).toBe('[DONE]')
    expect(mapped).toBe(1_501)
  })
})

test.each([
  ['as it is', undefined],
  ['mapped', (event: EventSourceMessage) => event],
])('a terminal event that is refused, %s, is not relayed: the reason is thrown', async (_, map) => {
  const controller = new AbortController()
  const reason = new Error('enough')
  let failure: unknown
  await using server = await listen(async (_request, response) => {
    const writer = createSSEWriter(response, { signal: controller.signal })
    const source = new Response(wire('{"choices":[]}', '[DONE]'))
    const onChunk = () => controller.abort(reason)
    await relayEventStream(source, writer, { dialect: dialects.openaiChat, map, onChunk }).catch((error) => {
      failure = error
    })
    writer.close({ data: 'over' })
  })
  using client = await rawRequest({ port: server.port }).finished()
  expect(client.data).toEqual(['over'])
  expect(failure).toBe(reason)
})

test('a stop in the middle of a large chunk leaves no unhandled rejection', async () => {
  const controller = new AbortController()
  const reason = new Error('enough')
  let failure: unknown
  await using server = await listen(async (_request, response) => {
    const writer = createSSEWriter(response, { signal: controller.signal })
    const large = wire(...Array.from({ length: 100 }, () => 'x'.repeat(1_000)))
    const map = (event: EventSourceMessage) => {
      controller.abort(reason)
      return event
    }
    await relayEventStream(Readable.from([large], { objectMode: false }), writer, { map }).catch((error) => {
      failure = error
    })
    writer.close({ data: 'over' })
  })
  using client = await rawRequest({ port: server.port }).finished()
  expect(client.data).toEqual(['over'])
  expect(failure).toBe(reason)
})
