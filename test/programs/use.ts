import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { getStream, type StreamContext, type StreamEnd, type StreamHandler } from 'unhang'
import { createStreamMiddleware, guardStreams } from 'unhang/express'
import { assertCleanEnding, type FaultName, faults, rawRequest, startUpstream } from 'unhang/testing'

const ends: StreamEnd[] = []
const map = ({ data }: { data: string }) => ({ data })

async function told(fault: FaultName): Promise<number | undefined> {
  const upstream = await startUpstream(faults[fault])
  const handler = ({ relay, signal }: StreamContext) =>
    relay(fetch(upstream.url, { method: 'POST', signal }), map)
  const plain: StreamHandler = handler
  assert.equal(plain, handler)
  const app = express()
  app.use(guardStreams({ timeouts: { inactivityMs: 1_000 } }))
  app.use((request, _response, next) => {
    const signal: AbortSignal | undefined = getStream(request)?.signal
    assert.equal(signal?.aborted, false)
    next()
  })
  const stream = createStreamMiddleware(handler, { onEnd: (end) => ends.push(end) })
  app.post('/v1/chat/completions', express.json(), stream)
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const client = rawRequest({ port, body: { stream: true } })
  try {
    return assertCleanEnding(await client.finished())?.status
  } finally {
    client.socket.destroy()
    server.closeAllConnections()
    server.close()
    await upstream[Symbol.asyncDispose]()
  }
}

async function main(): Promise<void> {
  assert.equal(await told('good'), undefined)
  assert.equal(await told('finBeforeHead'), 503)
  assert.deepEqual(
    ends.map(({ outcome }) => outcome),
    ['completed', 'upstream_hangup'],
  )
  console.log('used')
}

void main()
