import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  dialects,
  type EventMap,
  type HandleStreamOptions,
  respondWithError,
  wrapApp,
} from '../../src/index.js'
import { guarded } from '../support/guarded.js'
import { listen, startProxy, upstreamClients } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { type Script, startUpstream } from '../support/scripted-upstream.js'

const type = 'Content-Type: application/x-ndjson'
const line = (content: string, more: object = {}) =>
  `${JSON.stringify({ model: 'llama', message: { role: 'assistant', content }, done: false, ...more })}\n`
const last = line('', { done: true, done_reason: 'stop', prompt_eval_count: 3, eval_count: 2 })
const good = [line('Hel'), line('lo'), last]

/** A body of lines behind a guard, piped as a proxy does, or relayed by a route. */
async function mounted(kind: 'guard' | 'route', upstream: string, options: HandleStreamOptions = {}) {
  if (kind === 'route') {
    return startProxy((stream) => stream.relay(upstreamClients.http(upstream, stream)), options)
  }
  return guarded(async (_request, response) => {
    const answer = await fetch(upstream, { method: 'POST' })
    response.writeHead(answer.status, { 'content-type': String(answer.headers.get('content-type')) })
    for await (const chunk of answer.body ?? []) response.write(chunk)
    response.end()
  }, options as never)
}

async function seen(kind: 'guard' | 'route', script: Script, options: HandleStreamOptions = {}) {
  await using upstream = await startUpstream(script)
  await using server = await mounted(kind, upstream.url, options)
  using client = await rawRequest({ port: server.port, path: '/api/chat', body: { stream: true } }).finished()
  while (server.ends.length === 0) await wait(1)
  return { client, lines: client.bodyText.split('\n'), end: server.ends[0] }
}

const begin: Script = (exchange) => exchange.open(type).chunk(line('Hel'))

describe.each(['guard', 'route'] as const)('%s', (kind) => {
  test('a good answer arrives byte for byte, with its own type', async () => {
    const { client, end } = await seen(kind, (exchange) => {
      exchange.open(type)
      for (const each of good) exchange.chunk(each)
      exchange.end()
    })
    expect(client.header('content-type')).toBe('application/x-ndjson')
    expect(client.bodyText).toBe(good.join(''))
    expect(end).toMatchObject({ outcome: 'completed', events: 3, sawTerminal: true })
  })

  test.each<[string, Script, string]>([
    ['a reset', (exchange) => (begin(exchange) as typeof exchange).reset(), 'upstream_hangup'],
    ['a truncation', (exchange) => (begin(exchange) as typeof exchange).end(), 'upstream_truncated'],
    ['silence', begin, 'timeout'],
  ])('%s becomes an error line, and the body a whole one', async (_what, script, outcome) => {
    const { client, lines, end } = await seen(kind, script, { timeouts: { inactivityMs: 150 } })
    expect(end?.outcome).toBe(outcome)
    expect(client.body.complete).toBe(true)
    expect(`${lines[0]}\n`).toBe(line('Hel'))
    expect(JSON.parse(lines[1] ?? '')).toEqual({ error: end?.reason?.message })
    expect(lines.slice(2)).toEqual([''])
  })

  test('half a line is not a line: the next bytes begin a new one', async () => {
    const { client, lines } = await seen(kind, async (exchange) => {
      await begin(exchange)
      exchange.chunk('{"model":"lla')
      await exchange.reset()
    })
    expect(lines.at(-1)).toBe('')
    expect(JSON.parse(lines.at(-2) ?? '')).toHaveProperty('error')
    expect(client.bodyText.startsWith(line('Hel'))).toBe(true)
  })

  test('an upstream’s own error line is passed on, and the stream has failed', async () => {
    const { lines, end } = await seen(kind, (exchange) =>
      (begin(exchange) as typeof exchange).chunk('{"error":"out of memory"}\n').end(),
    )
    expect(lines.slice(1)).toEqual(['{"error":"out of memory"}', ''])
    expect(end?.outcome).toBe('upstream_error')
  })

  test('there are no heartbeats', async () => {
    const { client, end } = await seen(
      kind,
      async (exchange) => {
        await begin(exchange)
        await wait(100)
        exchange.chunk(last).end()
      },
      { writer: { heartbeatMs: 10 } },
    )
    expect(client.bodyText).toBe(line('Hel') + last)
    expect(end?.heartbeats).toBe(0)
  })

  test.each([
    ['any', '{"row":1}\n{"row":2}\n\n{"row":3}\n'],
    ['tasks that are done, and others', '{"t":1,"done":true}\n{"t":2,"done":false}\n{"t":3,"done":true}\n'],
    ['tasks that are not', '{"t":1,"done":false}\n{"t":2,"done":false}\n{"t":3,"done":false}\n'],
    ['some with such a member inside', '{"message":{},"job":{"done":true}}\n{"response":"a"}\n{"c":1}\n'],
  ])('lines of an app’s own end as they end: %s', async (_what, own) => {
    const { client, end } = await seen(kind, (exchange) => exchange.open(type).chunk(own).end())
    expect(client.bodyText).toBe(own)
    expect(end).toMatchObject({ outcome: 'completed', events: 3 })
  })
})

test.each<[string, (response: ServerResponse) => unknown]>([
  ['a sentence of its own', (response) => response.end('Internal Server Error')],
  ['a status after the head', (response) => Object.assign(response, { statusCode: 502 }).end('{"a":1}\n')],
  [
    'another type after the head',
    (response) => response.setHeader('content-type', 'text/html').end('{"a":1}\n'),
  ],
])('a handler that ends lines with %s has failed', async (_what, fail) => {
  await using server = await guarded((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    response.write(line('Hel'))
    setImmediate(fail, response)
  })
  using client = await rawRequest({ port: server.port, path: '/api/chat', body: {} }).finished()
  expect(client.bodyText.startsWith(line('Hel'))).toBe(true)
  const [error, rest] = client.bodyText.slice(line('Hel').length).split('\n')
  expect(JSON.parse(error ?? '')).toHaveProperty('error')
  expect(rest).toBe('')
  expect(server.ends[0]?.outcome).toBe('upstream_hangup')
})

test.each(['ndjson', 'x-ndjson', 'jsonl', 'x-jsonlines', 'json-lines', 'json-seq', 'stream+json'])(
  'lines are guarded under the name application/%s',
  async (name) => {
    await using server = await guarded((_request, response) => {
      response.writeHead(200, { 'content-type': `application/${name}; charset=utf-8` })
      response.write(line('Hel'))
      setImmediate(() => response.destroy(new Error('broken')))
    })
    using client = await rawRequest({ port: server.port, path: '/api/chat', body: {} }).finished()
    const [, error = ''] = client.bodyText.split('\n')
    expect(error.startsWith('\x1e')).toBe(name === 'json-seq')
    expect(JSON.parse(error.replace('\x1e', ''))).toHaveProperty('error')
  },
)

test.each(['guard', 'route'] as const)('each record of a sequence has its separator: %s', async (kind) => {
  const records = ['\x1e{"row":1}\n', '\x1e{"row":2}\n']
  const { client } = await seen(kind, (exchange) =>
    exchange.open('Content-Type: application/json-seq').chunk(records.join('')).reset(),
  )
  expect(client.header('content-type')).toBe('application/json-seq')
  const [before, ...all] = client.bodyText.split('\x1e')
  expect(before).toBe('')
  expect(all.slice(0, 2).map((record) => `\x1e${record}`)).toEqual(records)
  expect(JSON.parse(all[2] ?? '')).toHaveProperty('error')
  expect(all).toHaveLength(3)
})

test('an error that respondWithError adds to a sequence has its separator', async () => {
  await using server = await listen((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json-seq' }).write('\x1e{"row":1}\n')
    respondWithError(new Error('no'), response)
  })
  using client = await rawRequest({ port: server.port, body: {} }).finished()
  expect(client.bodyText.replaceAll('\x1e', 'RS')).toMatch(/^RS\{"row":1\}\n+RS\{"error":.*\}\n$/)
})

test.each<[string, object, unknown]>([
  ['accepts lines', { accept: 'application/x-ndjson' }, undefined],
  ['is one for Ollama, which streams by default', {}, { model: 'llama', messages: [] }],
])('a request that %s gets a status when its handler is silent', async (_what, headers, parsed) => {
  const options = { timeouts: { firstByteMs: 100 } }
  const app = wrapApp((_request: IncomingMessage, _response: ServerResponse) => {}, options)
  await using server = await listen((request, response) => {
    Object.assign(request, { body: parsed })
    return app(request, response)
  })
  const path = '/api/chat'
  using client = await rawRequest({ port: server.port, path, headers: { ...headers }, body: {} }).finished()
  expect(client.status).toBe(504)
})

test('one JSON document under the name of lines passes the guard untouched', async () => {
  const document = JSON.stringify({ models: [{ name: 'a' }] }, null, 2)
  await using server = await guarded((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    response.write(document.slice(0, 20))
    response.end(document.slice(20))
  })
  using client = await rawRequest({ port: server.port, path: '/api/tags', body: {} }).finished()
  expect(client.bodyText).toBe(document)
})

test.each([
  ['a JSON array', '[{"candidates":[]}\n,', 'application/json'],
  ['application/vnd.amazon.eventstream', '\0\0\0', 'application/vnd.amazon.eventstream'],
])('relay refuses %s at once, and by name', async (name, begun, contentType) => {
  // It never ends: a client that waited for the end would wait for ever.
  await using upstream = await startUpstream((exchange) =>
    exchange.open(`Content-Type: ${contentType}`).chunk(begun),
  )
  await using proxy = await startProxy((stream) => stream.relay(upstreamClients.http(upstream.url, stream)))
  using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
  expect(client.status).toBe(502)
  expect(client.bodyText).toContain(name)
})

test('any lines in any cut pass a relay and the guard as they are', { timeout: 60_000 }, async () => {
  let pieces: Buffer[] = []
  await using upstream = await startUpstream((exchange) => {
    exchange.open('Content-Type: application/jsonl')
    for (const piece of pieces) exchange.chunk(piece)
    exchange.end()
  })
  await using route = await mounted('route', upstream.url)
  await using guard = await mounted('guard', upstream.url)
  const documents = fc.array(fc.oneof(fc.json(), fc.constant('')), { minLength: 1, maxLength: 8 })
  await fc.assert(
    fc.asyncProperty(documents, fc.array(fc.nat(40), { maxLength: 8 }), async (texts, cuts) => {
      const body = Buffer.from(`{"a":1}\n${texts.map((text) => `${text}\n`).join('')}`)
      pieces = []
      let at = 0
      for (const cut of [...cuts, body.length]) {
        if (cut > 0 && at < body.length) pieces.push(body.subarray(at, at + cut))
        at += cut
      }
      for (const { port } of [route, guard]) {
        using client = await rawRequest({ port, path: '/rows', body: {} }).finished()
        // An error that the first line reports has a status of its own.
        expect(client.bodyText).toBe(body.toString())
      }
    }),
    { numRuns: 25 },
  )
})

const toOpenAI: EventMap = ({ data }) => {
  const { message, done } = JSON.parse(data)
  const choices = [{ index: 0, delta: { content: message.content }, finish_reason: done ? 'stop' : null }]
  return { data: { id: 'x', object: 'chat.completion.chunk', created: 1, model: 'llama', choices } }
}

test('lines become the events of a chat by a map, and events become lines', async () => {
  await using ollama = await startUpstream((exchange) => exchange.open(type).chunk(good.join('')).end())
  await using chat = await startProxy((stream) =>
    stream.relay(upstreamClients.http(ollama.url, stream), toOpenAI),
  )
  using asked = await rawRequest({ port: chat.port, body: { stream: true } }).finished()
  expect(asked.data.at(-1)).toBe('[DONE]')
  expect(asked.header('content-type')).toContain('text/event-stream')

  const toOllama: EventMap = ({ data }) => {
    if (data === '[DONE]') return null
    const [{ delta, finish_reason }] = JSON.parse(data).choices
    return {
      data: {
        model: 'llama',
        message: { role: 'assistant', content: delta.content ?? '' },
        done: !!finish_reason,
      },
    }
  }
  await using back = await startProxy(
    (stream) => stream.relay(upstreamClients.http(chat.url, stream), toOllama),
    { dialect: dialects.ollama },
  )
  using lines = await rawRequest({ port: back.port, body: { stream: true } }).finished()
  expect(lines.header('content-type')).toBe('application/x-ndjson')
  const documents = lines.bodyText
    .trim()
    .split('\n')
    .map((text) => JSON.parse(text))
  expect(documents.map(({ message }) => message.content).join('')).toBe('Hello')
  expect(documents.at(-1).done).toBe(true)
})

test('a status of 2xx is passed on', async () => {
  await using upstream = await startUpstream((exchange) =>
    exchange.open(type, '201 Created').chunk(last).end(),
  )
  await using proxy = await startProxy((stream) => stream.relay(upstreamClients.http(upstream.url, stream)))
  using client = await rawRequest({ port: proxy.port, body: {} }).finished()
  expect(client.status).toBe(201)
})

test('createSSEWriter refuses a framing that there is not', async () => {
  const { createSSEWriter } = await import('../../src/index.js')
  await using server = await listen((_request, response) => {
    expect(() => createSSEWriter(response, { framing: 'lines' as never })).toThrow(
      "writer.framing must be 'sse' or 'ndjson', got \"lines\"",
    )
    const writer = createSSEWriter(response, { framing: 'ndjson' })
    void writer.write({ data: { a: 1 } })
    void writer.write('{"b":\n2}')
    writer.close('x')
  })
  using client = await rawRequest({ port: server.port, body: {} }).finished()
  expect(client.bodyText).toBe('{"a":1}\n{"b":2}\n"x"\n')
})
