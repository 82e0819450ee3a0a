import { once } from 'node:events'
import { Agent, createServer, get, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { handleStream, wrapApp } from '../src/index.js'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as (options?: { type: 'minor' }) => void
const agent = new Agent({ keepAlive: true })

const listen = async (server: Server) => {
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return { port: (server.address() as AddressInfo).port, [Symbol.asyncDispose]: () => closed(server) }
}
const closed = async (server: Server) => {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
}

const chunk = (delta: object, reason: string | null = null) =>
  `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta, finish_reason: reason }] })}\n\n`
const answer = `${chunk({ content: 'Hello' })}${chunk({}, 'stop')}data: [DONE]\n\n`

const call = async (port: number, via?: Agent, signal?: AbortSignal) => {
  const request = get({ port, host: '127.0.0.1', path: '/v1/chat/completions', agent: via ?? false, signal })
  const [response] = await once(request, 'response')
  return response
}

/** How many bytes of each ended stream a full collection finds that those of the young generation have left. */
async function left(listener: (upstreamPort: number) => RequestListener): Promise<number> {
  await using upstream = await listen(
    createServer((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.end(answer)
    }),
  )
  await using proxy = await listen(createServer(listener(upstream.port)))
  const stream = async () => {
    let text = ''
    for await (const bytes of await call(proxy.port)) text += bytes
    expect(text).toBe(answer)
  }
  const lanes = 10
  // Side by side, so that what is shared among streams is made and thrown away over and over.
  const run = async (streams: number) => {
    let begun = 0
    const lane = async () => {
      while (begun < streams) {
        if (++begun % 50 === 0) gc({ type: 'minor' })
        await stream()
      }
    }
    await Promise.all(Array.from({ length: lanes }, lane))
  }
  await run(400)
  gc()
  const measured = 600
  await run(measured)
  for (let times = 0; times < 2; times++) gc({ type: 'minor' })
  const before = process.memoryUsage().heapUsed
  gc()
  return (before - process.memoryUsage().heapUsed) / measured
}

const relayed =
  (port: number): RequestListener =>
  (_, response) =>
    void handleStream(response, (stream) => stream.relay(call(port, agent, stream.signal)))
const guarded = (port: number): RequestListener =>
  wrapApp(async (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for await (const bytes of await call(port, agent)) response.write(bytes)
    response.end()
  })
const bare =
  (port: number): RequestListener =>
  async (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for await (const bytes of await call(port, agent)) response.write(bytes)
    response.end()
  }

// Objects that outlive their stream until the next full collection make each small one slower, and stop all streams longer.
test('ended streams are gone with the young generation, relayed and guarded ones as those of a bare server', async () => {
  const limit = (await left(bare)) + 2_560
  expect(await left(relayed)).toBeLessThan(limit)
  expect(await left(guarded)).toBeLessThan(limit)
})
