import https from 'node:https'
import type { Readable } from 'node:stream'
import axios from 'axios'
import * as undici from 'undici'
import { describe, expect, test } from 'vitest'
import type { GuardOptions } from '../../src/index.js'
import type { UpstreamExchange } from '../../src/testing/index.js'
import { certificate } from '../support/certificate.js'
import { chatAnswer, chatChunk, failureOf, textOf } from '../support/chat.js'
import { guarded, type Handler } from '../support/guarded.js'
import { rawRequest } from '../support/raw-client.js'
import { type Script, startUpstream } from '../support/scripted-upstream.js'
import { startTlsFront } from '../support/tls-front.js'
import { eventStream, wire } from '../support/wire.js'

const ca = certificate.cert
const httpsAgent = new https.Agent({ ca })
const dispatcher = new undici.Agent({ connect: { ca }, headersTimeout: 0, bodyTimeout: 0 })
const copy = (upstream: Readable, response: Parameters<Handler>[1]) =>
  upstream.on('data', (chunk) => response.write(chunk)).on('end', () => response.end())

const clients: Record<string, (url: string) => Handler> = {
  'https.request': (url) => (_request, response) => {
    https
      .request(url, { method: 'POST', ca }, (upstream) =>
        copy(upstream, response.writeHead(200, eventStream)),
      )
      .end()
  },
  'https.request that ends in its error listener': (url) => (_request, response) => {
    https
      .request(url, { method: 'POST', ca }, (upstream) =>
        copy(upstream, response.writeHead(200, eventStream)).on('error', () => response.end(wire('[DONE]'))),
      )
      .end()
  },
  axios: (url) => async (_request, response) => {
    const { data } = await axios.post(url, '{}', { responseType: 'stream', httpsAgent })
    copy(data, response.writeHead(200, eventStream))
  },
  undici: (url) => async (_request, response) => {
    const { body } = await undici.request(url, { method: 'POST', dispatcher })
    copy(body, response.writeHead(200, eventStream))
  },
}

async function proxied(create: (url: string) => Handler, script: Script, options: GuardOptions) {
  const upstream = await startUpstream(script)
  const front = await startTlsFront(upstream.port)
  const server = await guarded(create(front.url), options)
  return {
    upstream,
    server,
    client: rawRequest({ port: server.port, body: { stream: true } }),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
      await front[Symbol.asyncDispose]()
      await upstream[Symbol.asyncDispose]()
    },
  }
}

const begun: Script = (exchange) => exchange.open().data(chatChunk('Hel'))
const breaks: Record<string, (exchange: UpstreamExchange) => unknown> = {
  'is reset': (exchange) => exchange.reset(),
  'hangs up': (exchange) => exchange.fin(),
}

describe.each(Object.entries(clients))('over TLS, %s', (_client, create) => {
  test('a good stream arrives', async () => {
    await using run = await proxied(
      create,
      (exchange) =>
        exchange
          .open()
          .data(...chatAnswer('Hello'))
          .end(),
      {},
    )
    await run.client.finished()
    expect(run.client.bodyText).toBe(wire(...chatAnswer('Hello')))
    await expect.poll(() => run.server.ends).toMatchObject([{ outcome: 'completed' }])
  })

  test.each(Object.entries(breaks))('an upstream that %s: it is reported to the client', async (_how, go) => {
    await using run = await proxied(create, begun, { adopt: { breakMs: 50 } })
    await run.client.received('Hel')
    await go(await run.upstream.exchange(0))
    await run.client.finished()
    expect(textOf(run.client.data)).toBe('Hel')
    expect(failureOf(run.client.data).code).toBe('connection_reset')
    await expect.poll(() => run.server.ends).toMatchObject([{ outcome: 'upstream_hangup' }])
  })

  test('a client that leaves lets the upstream go, if the app says so', async () => {
    await using run = await proxied(create, begun, { adopt: { onDisconnect: 'cancel' } })
    await run.client.received('Hel')
    run.client.reset()
    await (await run.upstream.exchange(0)).closed
    await expect
      .poll(() => run.server.ends)
      .toMatchObject([{ outcome: 'client_gone', upstreamsLeftRunning: 0 }])
  })
})
