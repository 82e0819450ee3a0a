import { once } from 'node:events'
import { type Agent, type RequestListener, request as send } from 'node:http'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { handleStream, wrapApp } from '../../src/index.js'
import { chatAnswer } from '../support/chat.js'
import { agent, listen } from '../support/proxy.js'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as (options?: { type: 'minor' }) => void

const answer = chatAnswer('Hello')
  .map((data) => `data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`)
  .join('')

const call = async (port: number, via?: Agent, signal?: AbortSignal) => {
  const path = '/v1/chat/completions'
  const request = send({ method: 'POST', port, host: '127.0.0.1', path, agent: via ?? false, signal }).end()
  const [response] = await once(request, 'response')
  return response
}

/** How many bytes of each ended stream a full collection finds that those of the young generation have left. */
async function left(listener: (upstreamPort: number) => RequestListener): Promise<number> {
  await using upstream = await listen((_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.end(answer)
  })
  await using proxy = await listen(listener(upstream.port))
  const stream = async () => {
    let text = ''
    for await (const bytes of await call(proxy.port)) text += bytes
    expect(text).toBe(answer)
  }
  const lanes = 10
  // Side by side, so that objects that streams share are made and thrown away over and over.
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
  const found: number[] = []
  // The middle of three: by the state of the collector one alone is off, on Node 24 by more than the effect.
  for (let batch = 0; batch < 3; batch++) {
    await run(measured)
    for (let times = 0; times < 2; times++) gc({ type: 'minor' })
    const before = process.memoryUsage().heapUsed
    gc()
    found.push((before - process.memoryUsage().heapUsed) / measured)
  }
  return found.sort((a, b) => a - b)[1] as number
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
}, 60_000)
