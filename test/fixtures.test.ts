import type { RequestListener } from 'node:http'
import { Readable } from 'node:stream'
import { createSession } from 'better-sse'
import { EventSourceParserStream } from 'eventsource-parser/stream'
import express from 'express'
import expressHttpProxy from 'express-http-proxy'
import { createProxyMiddleware } from 'http-proxy-middleware'
import Koa from 'koa'
import { describe, expect, test, vi } from 'vitest'
import { wrapApp as wrapExpress } from '../src/adapters/express.js'
import { wrapApp as wrapKoa } from '../src/adapters/koa.js'
import { chatAnswer, chatChunk, failureOf, textOf } from './support/chat.js'
import { listen } from './support/proxy.js'
import { type RawClient, rawRequest } from './support/raw-client.js'
import { type Script, startUpstream } from './support/scripted-upstream.js'

const path = '/v1/chat/completions'

interface Fixture {
  /** As somebody found it on the web. */
  app(upstreamUrl: string): RequestListener
  guarded(upstreamUrl: string): RequestListener
}

/** Proxies as they are written everywhere. */
const fixtures: Record<string, Fixture> = {
  'a tutorial Express proxy with fetch': fixture(
    (url) =>
      express().post(path, async (_request, response) => {
        const upstream = await fetch(url, { method: 'POST' })
        response.setHeader('Content-Type', 'text/event-stream')
        response.setHeader('Connection', 'keep-alive')
        for await (const chunk of Readable.fromWeb(upstream.body as never)) response.write(chunk)
        response.end()
      }),
    (app) => wrapExpress(app, { timeouts: { inactivityMs: 500 } }),
  ),
  'http-proxy-middleware': fixture(
    (url) => express().use(createProxyMiddleware({ target: url, changeOrigin: true })),
    (app) => wrapExpress(app, { timeouts: { inactivityMs: 500 } }),
  ),
  'express-http-proxy': fixture(
    (url) => express().use(expressHttpProxy(url)),
    (app) => wrapExpress(app, { timeouts: { inactivityMs: 500 } }),
  ),
  'better-sse': fixture(
    (url) =>
      express().post(path, async (request, response) => {
        const upstream = await fetch(url, { method: 'POST' })
        const session = await createSession(request, response, { serializer: String })
        const events = upstream.body
          ?.pipeThrough(new TextDecoderStream())
          .pipeThrough(new EventSourceParserStream())
        for await (const { data } of events as unknown as AsyncIterable<{ data: string }>)
          session.push(data, 'message')
        response.end()
      }),
    (app) => wrapExpress(app, { timeouts: { inactivityMs: 500 } }),
  ),
  'Koa with ctx.body = stream': {
    app: (url) => koaProxy(url).callback(),
    guarded: (url) => wrapKoa(koaProxy(url), { timeouts: { inactivityMs: 500 } }),
  },
}

function fixture(
  create: (url: string) => express.Express,
  guard: (app: express.Express) => RequestListener,
): Fixture {
  return { app: (url) => create(url) as unknown as RequestListener, guarded: (url) => guard(create(url)) }
}

function koaProxy(url: string): Koa {
  const app = new Koa()
  app.silent = true
  return app.use(async (context) => {
    const upstream = await fetch(url, { method: 'POST' })
    context.type = 'text/event-stream'
    context.body = Readable.fromWeb(upstream.body as never)
  })
}

const promises: Record<string, (listener: (url: string) => RequestListener) => Promise<void>> = {
  'an upstream that resets mid-stream': (listener) =>
    withClient(
      listener,
      (exchange) => exchange.open().data(chatChunk('Hello')),
      async (client, upstream) => {
        await client.received('Hello')
        await (await upstream.exchange(0)).reset()
        await settled(client)
        expect(client.body.complete).toBe(true)
        expect(textOf(client.data)).toBe('Hello')
        // http-proxy ends the response itself before its source says why.
        expect(['connection_reset', 'upstream_truncated']).toContain(failureOf(client.data).code)
      },
    ),
  'an upstream that ends too early': (listener) =>
    withClient(
      listener,
      (exchange) => exchange.open().data(chatChunk('Hello')).end(),
      async (client) => {
        await settled(client)
        expect(failureOf(client.data).code).toBe('upstream_truncated')
      },
    ),
  'an upstream that falls silent': (listener) =>
    withClient(
      listener,
      (exchange) => exchange.open().data(chatChunk('Hello')),
      async (client) => {
        await client.received('Hello')
        await settled(client)
        expect(failureOf(client.data).code).toBe('upstream_inactivity_timeout')
      },
    ),
}

async function withClient(
  listener: (url: string) => RequestListener,
  script: Script,
  use: (client: RawClient, upstream: Awaited<ReturnType<typeof startUpstream>>) => Promise<void>,
): Promise<void> {
  await using upstream = await startUpstream(script)
  await using server = await listen(listener(upstream.url))
  using client = rawRequest({ port: server.port, path, body: { stream: true } })
  await use(client, upstream)
}

/** A proxy that leaves its client hanging must not hang the test: after a while the client has waited enough. */
async function settled(client: RawClient): Promise<void> {
  const enough = setTimeout(() => client.socket.destroy(), 2_500)
  await client.finished()
  clearTimeout(enough)
}

describe.each(Object.entries(fixtures))('%s', (_name, { app, guarded }) => {
  test.each(Object.entries(promises))(
    '%s: dropped without the guard, kept with it',
    async (_promise, keep) => {
      vi.spyOn(console, 'error').mockImplementation(() => {})
      await expect(keep(app)).rejects.toThrow()
      await keep(guarded)
      vi.restoreAllMocks()
    },
  )

  test('a good stream passes byte for byte, with and without', async () => {
    const texts: string[] = []
    for (const listener of [app, guarded]) {
      await withClient(
        listener,
        (exchange) =>
          exchange
            .open()
            .data(...chatAnswer('Hel', 'lo'))
            .end(),
        async (client) => {
          await client.finished()
          // better-sse makes the ids up.
          texts.push(client.bodyText.replace(/^id:.*$/gm, 'id:'))
        },
      )
    }
    expect(texts[0]).toBe(texts[1])
    expect(texts[0]).toContain('[DONE]')
  })
})
