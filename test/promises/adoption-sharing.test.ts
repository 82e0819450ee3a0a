import { EventEmitter, on } from 'node:events'
import type { ServerResponse } from 'node:http'
import { PassThrough } from 'node:stream'
import Bottleneck from 'bottleneck'
import fastq from 'fastq'
import pLimit from 'p-limit'
import PQueue from 'p-queue'
import { describe, expect, test } from 'vitest'
import { callOwners } from '../../src/guard/upstream-calls.js'
import { wrapApp } from '../../src/index.js'
import { chatAnswer, chatChunk, textOf } from '../support/chat.js'
import { guarded, type Handler } from '../support/guarded.js'
import { listen } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'
import { eventStream } from '../support/wire.js'
import { withResolvers } from '../support/with-resolvers.js'

type Chunk = Uint8Array
const options = { adopt: { onDisconnect: 'cancel' } } as const
const post = { method: 'POST', body: '{}' }
const begin = (response: ServerResponse) => response.writeHead(200, eventStream)

/** Hands each chunk of one upstream, which the first client opens, to all that have joined by then. */
function fanOut(url: string, give: (chunk: Chunk) => void, end: () => void) {
  let flight: Promise<void> | undefined
  const pump = async () => {
    for await (const chunk of (await fetch(url, post)).body as AsyncIterable<Chunk>) give(chunk)
    end()
  }
  return () => {
    flight ??= pump()
    return flight
  }
}

/** One upstream for several clients, as people write it. */
const flights: Record<string, (url: string) => Handler> = {
  'a set of responses': (url) => {
    const joined = new Set<ServerResponse>()
    const open = fanOut(
      url,
      (chunk) => joined.forEach((response) => void response.write(chunk)),
      () => joined.forEach((response) => void response.end()),
    )
    return (_request, response) => {
      joined.add(begin(response))
      return open()
    }
  },
  'an EventEmitter': (url) => {
    const emitter = new EventEmitter()
    const open = fanOut(
      url,
      (chunk) => emitter.emit('data', chunk),
      () => emitter.emit('end'),
    )
    return (_request, response) => {
      begin(response)
      emitter.on('data', (chunk) => response.write(chunk)).on('end', () => response.end())
      return open()
    }
  },
  'a PassThrough for each client': (url) => {
    const joined: PassThrough[] = []
    const open = fanOut(
      url,
      (chunk) => joined.forEach((each) => void each.write(chunk)),
      () => joined.forEach((each) => void each.end()),
    )
    return (_request, response) => {
      const own = new PassThrough()
      joined.push(own)
      own.pipe(begin(response))
      return open()
    }
  },
  'a queue for each client': (url) => {
    const emitter = new EventEmitter()
    const open = fanOut(
      url,
      (chunk) => emitter.emit('data', chunk),
      () => emitter.emit('end'),
    )
    return async (_request, response) => {
      begin(response)
      void open()
      const queue = on(emitter, 'data', { close: ['end'] } as object) as AsyncIterable<[Chunk]>
      for await (const [chunk] of queue) response.write(chunk)
      response.end()
    }
  },
  'a web stream for each client': (url) => {
    const joined: ReadableStreamDefaultController<Chunk>[] = []
    const open = fanOut(
      url,
      (chunk) => joined.forEach((each) => void each.enqueue(chunk)),
      () => joined.forEach((each) => void each.close()),
    )
    return async (_request, response) => {
      begin(response)
      const own = new ReadableStream<Chunk>({ start: (controller) => void joined.push(controller) })
      void open()
      for await (const chunk of own as unknown as AsyncIterable<Chunk>) response.write(chunk)
      response.end()
    }
  },
  'tee()': (url) => {
    let body: Promise<ReadableStream<Chunk>> | undefined
    return async (_request, response) => {
      begin(response)
      body ??= fetch(url, post).then(({ body }) => body as ReadableStream<Chunk>)
      const [rest, own] = (await body).tee()
      body = Promise.resolve(rest)
      for await (const chunk of own as unknown as AsyncIterable<Chunk>) response.write(chunk)
      response.end()
    }
  },
}

describe('a client that leaves a stream that another one reads as well does not end it', () => {
  test.each(Object.entries(flights))('%s', async (_shape, create) => {
    await using upstream = await startUpstream((exchange) => exchange.open())
    const handler = create(upstream.url)
    let joined = 0
    const counted: Handler = (request, response) => {
      joined++
      return handler(request, response)
    }
    await using server = await guarded(counted, options)
    using first = rawRequest({ port: server.port, body: { stream: true } })
    const exchange = await upstream.exchange(0)
    exchange.data(chatChunk('Hel'))
    await first.received('Hel')
    using second = rawRequest({ port: server.port, body: { stream: true } })
    await expect.poll(() => joined).toBe(2)
    exchange.data(chatChunk('lo'))
    await second.received('lo')
    first.reset()
    await expect.poll(() => server.ends).toHaveLength(1)
    exchange.data(...chatAnswer(' you')).end()
    await second.finished()
    expect(textOf(second.data)).toMatch(/^(Hel)?lo you$/)
    expect(second.data.at(-1)).toBe('[DONE]')
    await expect.poll(() => server.ends.map(({ outcome }) => outcome)).toEqual(['client_gone', 'completed'])
    expect(upstream.connections).toBe(1)
  })
})

/** Runs one job after the other. */
const limiters: Record<string, () => <T>(job: () => Promise<T>) => Promise<T>> = {
  'p-queue': () => {
    const queue = new PQueue({ concurrency: 1 })
    return <T>(job: () => Promise<T>) => queue.add(job) as Promise<T>
  },
  fastq: () => {
    const queue = fastq.promise((job: () => Promise<unknown>) => job(), 1)
    return <T>(job: () => Promise<T>) => queue.push(job) as Promise<T>
  },
  bottleneck: () => {
    const limiter = new Bottleneck({ maxConcurrent: 1 })
    return (job) => limiter.schedule(job)
  },
  'p-limit': () => pLimit(1),
}

describe('a client that leaves does not end the stream that waited for its turn behind its own', () => {
  test.each(Object.entries(limiters))('%s', async (_limiter, create) => {
    await using upstream = await startUpstream(() => {})
    const inTurn = create()
    let waiting = 0
    await using server = await guarded(async (_request, response) => {
      waiting++
      const { body } = await inTurn(() => fetch(upstream.url, post))
      begin(response)
      for await (const chunk of body as unknown as AsyncIterable<Chunk>) response.write(chunk)
      response.end()
    }, options)
    using first = rawRequest({ port: server.port, body: { stream: true } })
    const ofFirst = await upstream.exchange(0)
    using second = rawRequest({ port: server.port, body: { stream: true } })
    // Its turn comes when the first one has its head.
    await expect.poll(() => waiting).toBe(2)
    ofFirst.open().data(chatChunk('A'))
    await first.received('A')
    const ofSecond = await upstream.exchange(1)
    ofSecond.open().data(chatChunk('Hel'))
    await second.received('Hel')
    first.reset()
    await expect.poll(() => server.ends).toHaveLength(1)
    ofSecond.data(...chatAnswer('lo')).end()
    await second.finished()
    expect(textOf(second.data)).toBe('Hello')
    expect(second.data.at(-1)).toBe('[DONE]')
  })
})

test('a response that had ended before its guard came keeps no client waiting', async () => {
  const guard = wrapApp(() => {})
  const seen = withResolvers<boolean>()
  await using server = await listen((request, response) => {
    response.once('close', () => {
      guard(request, response)
      seen.resolve(callOwners().mayHaveReaders)
    })
    response.end('over')
  })
  using _client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
  expect(await seen.promise).toBe(false)
})

test('a GET that follows the upstream of another client, and accepts anything, is a guest as well', async () => {
  await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')))
  const emitter = new EventEmitter()
  const history: Chunk[] = []
  const pump = async () => {
    for await (const chunk of (await fetch(upstream.url, post)).body as AsyncIterable<Chunk>) {
      history.push(chunk)
      emitter.emit('chunk', chunk)
    }
  }
  await using server = await guarded(async (request, response) => {
    begin(response)
    const chunks = on(emitter, 'chunk', { close: ['end'] })
    for (const chunk of history) response.write(chunk)
    const end = () => void emitter.emit('end')
    if (request.method === 'POST') pump().then(end, end)
    for await (const [chunk] of chunks) response.write(chunk)
    response.end()
  }, options)
  const first = await rawRequest({ port: server.port, body: { stream: true } }).received('Hel')
  using second = await rawRequest({ port: server.port, method: 'GET', path: '/answers/1' }).received('Hel')
  first.reset()
  await expect.poll(() => server.ends).toHaveLength(1)
  const exchange = await upstream.exchange(0)
  exchange.data(...chatAnswer('lo')).end()
  await second.finished()
  expect(textOf(second.data)).toBe('Hello')
  expect(second.text).not.toContain('"error"')
})

test('a GET whose JSON is made of the upstream of another client is a guest as well', async () => {
  await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')))
  let reads = 0
  const whole = withResolvers<string>()
  await using server = await guarded(async (request, response) => {
    if (request.method === 'GET') {
      reads++
      const text = await whole.promise
      response.setHeader('Content-Type', 'application/json').end(JSON.stringify({ text }))
      return
    }
    begin(response)
    let text = ''
    for await (const chunk of (await fetch(upstream.url, post)).body as AsyncIterable<Chunk>) {
      text += Buffer.from(chunk)
      response.write(chunk)
    }
    whole.resolve(text)
  }, options)
  using first = await rawRequest({ port: server.port, body: { stream: true } }).received('Hel')
  using second = rawRequest({ port: server.port, method: 'GET', path: '/answers/1' })
  await expect.poll(() => reads).toBe(1)
  first.reset()
  await expect.poll(() => server.ends).toHaveLength(1)
  const exchange = await upstream.exchange(0)
  exchange.data(...chatAnswer('lo')).end()
  await second.finished()
  expect(second.bodyText).toContain('[DONE]')
})
