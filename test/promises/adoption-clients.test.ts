import { describe, expect, test } from 'vitest'
import type { UpstreamExchange } from '../../src/testing/index.js'
import { turns } from '../support/broken-upstream.js'
import { chatAnswer, chatChunk, failureOf, textOf } from '../support/chat.js'
import { guarded } from '../support/guarded.js'
import { naiveProxies } from '../support/naive-proxies.js'
import { listen } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { type Script, startUpstream } from '../support/scripted-upstream.js'
import { expectHttpProxyWarning } from '../support/warnings.js'
import { wire } from '../support/wire.js'

const whole: Script = (exchange) =>
  exchange
    .open()
    .data(...chatAnswer('Hel', 'lo'))
    .end()
const begun: Script = (exchange) => exchange.open().data(chatChunk('Hel'))

/** How an upstream begins, and goes away in the middle of its answer. */
const breaks: Record<string, [Script, (exchange: UpstreamExchange) => unknown]> = {
  'is reset': [begun, (exchange) => exchange.reset()],
  'hangs up': [begun, (exchange) => exchange.fin()],
  'stops before its length': [
    (exchange) => {
      const events = wire(chatChunk('Hel'))
      const head = `Content-Type: text/event-stream\r\nContent-Length: ${events.length + 10}`
      exchange.raw(`HTTP/1.1 200 OK\r\n${head}\r\n\r\n${events}`)
    },
    (exchange) => exchange.fin(),
  ],
}

expectHttpProxyWarning()

describe.each(Object.entries(naiveProxies))('%s', (_client, { to, isPiped, throws }) => {
  test('good streams are the same byte for byte, over as many connections', async () => {
    const seen: unknown[] = []
    for (const serve of [listen, guarded]) {
      await using upstream = await startUpstream(whole)
      await using server = await serve(to(upstream.url) as never)
      const texts: string[] = []
      for (let times = 0; times < 3; times++) {
        using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
        expect(client.body.complete).toBe(true)
        texts.push(client.bodyText)
        // undici uses a connection again a turn of the loop after its response, or opens another one.
        await turns()
      }
      seen.push({ texts, connections: upstream.connections })
    }
    expect(seen[1]).toEqual(seen[0])
  })

  if (!isPiped) {
    test('a client that leaves: the upstream is kept, unless the app says otherwise', async () => {
      await using upstream = await startUpstream((exchange) =>
        upstream.exchanges.length === 1 ? begun(exchange) : whole(exchange),
      )
      await using server = await guarded(to(upstream.url), { adopt: { onDisconnect: 'keep' } })
      using client = rawRequest({ port: server.port, body: { stream: true } })
      await client.received('Hel')
      client.reset()
      await expect.poll(() => server.ends).toHaveLength(1)
      expect(server.ends[0]).toMatchObject({ outcome: 'client_gone', upstreamsLeftRunning: 1 })
      const left = await upstream.exchange(0)
      // A whole stream of another client in between: a connection that was let go would be gone by then.
      using other = await rawRequest({ port: server.port, body: { stream: true } }).finished()
      expect(textOf(other.data)).toBe('Hello')
      expect(left.socket.destroyed).toBe(false)
      left.data(...chatAnswer('lo')).end()
    })
  }

  // Its fate is in adoption-express4.test.ts, in a process that may end.
  if (throws) return

  test.each(Object.entries(breaks))(
    'an upstream that %s: it is reported to the client',
    async (_how, [begin, go]) => {
      await using upstream = await startUpstream(begin)
      await using server = await guarded(to(upstream.url), { adopt: { breakMs: 50 } })
      using client = rawRequest({ port: server.port, body: { stream: true } })
      await client.received('Hel')
      await go(await upstream.exchange(0))
      await client.finished()
      expect(client.body.complete).toBe(true)
      expect(textOf(client.data)).toBe('Hel')
      expect(failureOf(client.data).code).toBe('connection_reset')
      await expect.poll(() => server.ends).toHaveLength(1)
      expect(server.ends[0]?.outcome).toBe('upstream_hangup')
    },
  )

  test('a client that leaves lets the upstream go, if the app says so', async () => {
    await using upstream = await startUpstream(begun)
    await using server = await guarded(to(upstream.url), { adopt: { onDisconnect: 'cancel' } })
    using client = rawRequest({ port: server.port, body: { stream: true } })
    await client.received('Hel')
    client.reset()
    await (await upstream.exchange(0)).closed
    await expect.poll(() => server.ends).toHaveLength(1)
    expect(server.ends[0]).toMatchObject({ outcome: 'client_gone', upstreamsLeftRunning: 0 })
  })
})
