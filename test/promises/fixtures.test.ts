import type { RequestListener } from 'node:http'
import type { Express } from 'express'
import { describe, expect, test } from 'vitest'
import { wrapApp as wrapExpress } from '../../src/adapters/express.js'
import { wrapApp as wrapKoa } from '../../src/adapters/koa.js'
import { betterSse } from '../fixtures/better-sse.js'
import { expressFetch } from '../fixtures/express-fetch.js'
import { expressProxy } from '../fixtures/express-http-proxy.js'
import { httpProxyMiddleware } from '../fixtures/http-proxy-middleware.js'
import { koaBody } from '../fixtures/koa-body.js'
import { chatAnswer, chatChunk, failureOf, textOf } from '../support/chat.js'
import { listen } from '../support/proxy.js'
import { type RawClient, rawRequest } from '../support/raw-client.js'
import { type Script, startUpstream } from '../support/scripted-upstream.js'
import { expectWarning } from '../support/warnings.js'

const path = '/v1/chat/completions'

interface Fixture {
  /** As somebody found it on the web. */
  app(upstreamUrl: string): RequestListener
  guarded(upstreamUrl: string): RequestListener
}

const timeouts = { firstByteMs: 500, inactivityMs: 500 }

/** Proxies as they are written everywhere. */
const fixtures: Record<string, Fixture> = {
  'a tutorial Express proxy with fetch': onExpress(expressFetch),
  'http-proxy-middleware': onExpress(httpProxyMiddleware),
  'express-http-proxy': onExpress(expressProxy),
  'better-sse': onExpress(betterSse),
  'Koa with ctx.body = stream': {
    app: (url) => koaBody(url).callback(),
    guarded: (url) => wrapKoa(koaBody(url), { timeouts }),
  },
}

function onExpress(create: (url: string) => Express): Fixture {
  return {
    app: (url) => create(url) as unknown as RequestListener,
    guarded: (url) => wrapExpress(create(url), { timeouts }),
  }
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
        expect(failureOf(client.data).code).toBe('connection_reset')
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
  'an upstream that never begins': (listener) =>
    withClient(
      listener,
      () => {},
      async (client) => {
        await settled(client)
        expect(client.status).toBe(504)
        expect(client.json.error.code).toBe('upstream_first_byte_timeout')
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

// http-proxy, which http-proxy-middleware is built on, calls util._extend. Node warns of that from version 22 on.
if (Number.parseInt(process.versions.node, 10) >= 22) {
  void expectWarning(/^DeprecationWarning: The `util\._extend` API is deprecated/)
}

describe.each(Object.entries(fixtures))('%s', (_name, { app, guarded }) => {
  test.each(Object.entries(promises))(
    '%s: dropped without the guard, kept with it',
    async (_promise, keep) => {
      await expect(keep(app)).rejects.toThrow()
      await keep(guarded)
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
