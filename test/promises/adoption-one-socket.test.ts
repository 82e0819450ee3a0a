import http from 'node:http'
import axios from 'axios'
import { Agent, request } from 'undici'
import { describe, expect, test } from 'vitest'
import { chatAnswer, chatChunk, failureOf, textOf } from '../support/chat.js'
import { guarded, type Handler } from '../support/guarded.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'
import { eventStream, wire } from '../support/wire.js'

const chunks = (body: unknown) => body as AsyncIterable<Uint8Array>
const oneSocket = () => new http.Agent({ keepAlive: true, maxSockets: 1 })

/** Clients with one connection for all requests: the second waits until the first one has its whole answer. */
const clients: Record<string, () => (url: string) => Handler> = {
  'http.request': () => {
    const agent = oneSocket()
    return (url) => (_request, response) => {
      http
        .request(url, { method: 'POST', agent }, (upstream) => {
          response.writeHead(200, eventStream)
          upstream.on('data', (chunk) => response.write(chunk)).on('end', () => response.end())
        })
        .on('error', () => {})
        .end()
    }
  },
  axios: () => {
    const httpAgent = oneSocket()
    return (url) => async (_request, response) => {
      const { data } = await axios.post(url, '{}', { responseType: 'stream', httpAgent })
      response.writeHead(200, eventStream)
      data.on('data', (chunk: Buffer) => response.write(chunk)).on('end', () => response.end())
    }
  },
  undici: () => {
    const dispatcher = new Agent({ connections: 1, headersTimeout: 0, bodyTimeout: 0 })
    return (url) => async (_request, response) => {
      const { body } = await request(url, { method: 'POST', dispatcher })
      response.writeHead(200, eventStream)
      for await (const chunk of chunks(body)) response.write(chunk)
      response.end()
    }
  },
}

describe.each(Object.entries(clients))(
  '%s on one socket: the stream that waited is its own',
  (_client, create) => {
    /** The first client has its whole answer, and the second one "Hel" over the same connection. */
    async function second(adopt: { onDisconnect?: 'cancel'; breakMs?: number }) {
      const upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')))
      const handler = create()(upstream.url)
      let requests = 0
      const counted: Handler = (request, response) => {
        requests++
        return handler(request, response)
      }
      const server = await guarded(counted, { adopt })
      using first = await rawRequest({ port: server.port, body: { stream: true } }).received('Hel')
      const client = rawRequest({ port: server.port, body: { stream: true } })
      await expect.poll(() => requests).toBe(2)
      const ofFirst = await upstream.exchange(0)
      ofFirst.data(...chatAnswer('lo')).end()
      await first.finished()
      expect(first.bodyText).toBe(wire(chatChunk('Hel'), ...chatAnswer('lo')))
      await client.received('Hel')
      expect(upstream.connections).toBe(1)
      return {
        server,
        client,
        exchange: await upstream.exchange(1),
        async [Symbol.asyncDispose]() {
          client.socket.destroy()
          await server[Symbol.asyncDispose]()
          await upstream[Symbol.asyncDispose]()
        },
      }
    }

    test('its client leaves, and its upstream is let go', async () => {
      await using run = await second({ onDisconnect: 'cancel' })
      run.client.reset()
      await run.exchange.closed
      await expect
        .poll(() => run.server.ends)
        .toMatchObject([{ outcome: 'completed' }, { outcome: 'client_gone', upstreamsLeftRunning: 0 }])
    })

    test('its upstream breaks, and that is reported to its client', async () => {
      await using run = await second({ breakMs: 50 })
      await run.exchange.reset()
      await run.client.finished()
      expect(textOf(run.client.data)).toBe('Hel')
      expect(failureOf(run.client.data).code).toBe('connection_reset')
      await expect
        .poll(() => run.server.ends)
        .toMatchObject([{ outcome: 'completed' }, { outcome: 'upstream_hangup' }])
    })
  },
)

describe.each(Object.entries(clients))('%s on one socket', (_client, create) => {
  test('a client that leaves while its call waits for the socket does not end the stream that has it', async () => {
    await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')))
    const handler = create()(upstream.url)
    let requests = 0
    await using server = await guarded(
      (request, response) => {
        requests++
        return handler(request, response)
      },
      { adopt: { onDisconnect: 'cancel' } },
    )
    using first = await rawRequest({ port: server.port, body: { stream: true } }).received('Hel')
    using waiting = rawRequest({ port: server.port, body: { stream: true } })
    await expect.poll(() => requests).toBe(2)
    waiting.reset()
    await expect.poll(() => server.ends).toMatchObject([{ outcome: 'client_gone' }])
    ;(await upstream.exchange(0)).data(...chatAnswer('lo')).end()
    await first.finished()
    expect(textOf(first.data)).toBe('Hello')
    await expect.poll(() => server.ends).toMatchObject([{ outcome: 'client_gone' }, { outcome: 'completed' }])
  })
})
