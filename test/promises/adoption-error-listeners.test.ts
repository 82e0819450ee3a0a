import http, { type ServerResponse } from 'node:http'
import { finished, PassThrough, type Readable } from 'node:stream'
import axios from 'axios'
import Koa3 from 'koa'
import Koa2 from 'koa2'
import { describe, expect, test } from 'vitest'
import * as forExpress from '../../src/adapters/express.js'
import * as forKoa from '../../src/adapters/koa.js'
import type { GuardOptions, StreamEnd } from '../../src/index.js'
import type { UpstreamExchange } from '../../src/testing/index.js'
import { chatChunk, failureOf, textOf } from '../support/chat.js'
import { expressVersions } from '../support/express-versions.js'
import { guarded } from '../support/guarded.js'
import { listen } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'
import { eventStream, wire } from '../support/wire.js'

// Node emits all of these before the 'close' of the upstream's response.

type Go = (exchange: UpstreamExchange) => unknown
const reset: Go = (exchange) => exchange.reset()
const hangUp: Go = (exchange) => exchange.fin()

/** Where a client's chunks go, and its handler's ending. */
type Sink = NodeJS.WritableStream
type Call = (url: string, sink: Sink, broken: () => unknown) => unknown

const byHttp = (listen: (upstream: Readable, broken: () => void) => unknown): Call => {
  return (url, sink, broken) => {
    const answer = (upstream: http.IncomingMessage) => {
      upstream.on('data', (chunk) => sink.write(chunk)).on('end', () => sink.end())
      listen(upstream, broken)
    }
    http
      .request(url, { method: 'POST' }, answer)
      .on('error', () => {})
      .end()
  }
}
const byAxios = (name: string): Call => {
  return async (url, sink, broken) => {
    const { data } = await axios.post(url, undefined, { responseType: 'stream' })
    data.on('data', (chunk: Buffer) => sink.write(chunk)).on('error', () => {})
    data.on(name, broken)
  }
}

/** Where a handler hears of the break, by whether a hang-up is heard of there as well. */
const listeners: Record<string, { call: Call; breaks: Go[] }> = {
  "'error' of http.request's response": {
    call: byHttp((upstream, broken) => upstream.on('error', broken)),
    breaks: [reset, hangUp],
  },
  "'aborted' of http.request's response": {
    call: byHttp((upstream, broken) => upstream.on('error', () => {}).on('aborted', broken)),
    breaks: [reset, hangUp],
  },
  "finished() of http.request's response": {
    call: byHttp((upstream, broken) => finished(upstream, broken)),
    breaks: [reset, hangUp],
  },
  "'error' of http.request": {
    call: (url, sink, broken) =>
      http
        .request(url, { method: 'POST' }, (upstream) => upstream.on('data', (chunk) => sink.write(chunk)))
        .on('error', broken)
        .end(),
    breaks: [reset],
  },
  "'error' of axios' data": { call: byAxios('error'), breaks: [reset, hangUp] },
  "'aborted' of axios' data": { call: byAxios('aborted'), breaks: [reset, hangUp] },
}

const endings: Record<string, (sink: Sink) => unknown> = {
  'with end()': (sink) => sink.end(wire('[DONE]')),
  'in two writes': (sink) => {
    sink.write(wire(chatChunk('', 'stop')))
    sink.end(wire('[DONE]'))
  },
}

type App = (request: http.IncomingMessage, response: ServerResponse) => unknown
type Respond = (sink: Sink) => unknown

/** One guarded app for each way to mount the guard; `respond` gets what its events go to. */
const mounts: [string, (options: GuardOptions, respond: Respond) => App][] = [
  ...expressVersions.map(([name, express]): (typeof mounts)[number] => [
    name,
    (options, respond) =>
      express()
        .use(forExpress.guardStreams(options))
        .use((_request, response) => {
          respond(response.writeHead(200, eventStream))
        }) as App,
  ]),
  ...([Koa2, Koa3] as (typeof Koa3)[]).flatMap((Koa, at): typeof mounts => [
    [
      `Koa ${at + 2}, a PassThrough`,
      (options, respond) =>
        new Koa()
          .use(forKoa.guardStreams(options))
          .use((ctx) => {
            const body = new PassThrough()
            ctx.type = 'text/event-stream'
            ctx.body = body
            respond(body)
          })
          .callback(),
    ],
    [
      `Koa ${at + 2}, the response itself`,
      (options, respond) =>
        new Koa()
          .use(forKoa.guardStreams(options))
          .use((ctx) => {
            ctx.respond = false
            respond(ctx.res.writeHead(200, eventStream))
          })
          .callback(),
    ],
  ]),
]

describe.each(mounts)('%s: a [DONE] is not believed', (_mount, create) => {
  const cases = Object.entries(listeners).flatMap(([where, { call, breaks }]) =>
    breaks.flatMap((go) =>
      Object.entries(endings).map(([how, end]) => ({
        title: `in ${where}, ${go === reset ? 'reset' : 'hung up'}, ${how}`,
        call,
        go,
        end,
      })),
    ),
  )

  test.each(cases)('$title', async ({ call, go, end }) => {
    const ends: StreamEnd[] = []
    const onEnd = (record: StreamEnd) => ends.push(record) > 0
    await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')))
    await using server = await listen(
      create({ onEnd }, (sink) => call(upstream.url, sink, () => end(sink))) as never,
    )
    using client = await rawRequest({ port: server.port, body: { stream: true } }).received('Hel')
    await go(await upstream.exchange(0))
    await client.finished()
    expect(textOf(client.data)).toBe('Hel')
    expect(client.bodyText).not.toContain('"stop"')
    expect(failureOf(client.data).code).toBe('connection_reset')
    await expect.poll(() => ends).toMatchObject([{ outcome: 'upstream_hangup', sawTerminal: false }])
  })
})

test.each(Object.entries(listeners))('a plain stream that ends in %s is broken', async (_where, { call }) => {
  await using upstream = await startUpstream((exchange) => exchange.open().data({ news: 1 }))
  await using server = await guarded((_request, response) => {
    call(upstream.url, response.writeHead(200, eventStream), () => response.end())
  })
  using client = await rawRequest({ port: server.port, path: '/news', body: { stream: true } }).received(
    'news',
  )
  await (await upstream.exchange(0)).reset()
  await client.finished()
  expect(client.bodyText).toContain('"error"')
  await expect.poll(() => server.ends).toMatchObject([{ outcome: 'upstream_hangup' }])
})
