import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import express from 'express'
import { isStreamError, StreamError } from 'unhang'
import { createStreamMiddleware } from 'unhang/express'
import { assertCleanEnding, faults, rawRequest, startUpstream } from 'unhang/testing'

/** The error that a client gets when its upstream has this fault. */
async function told(fault) {
  const upstream = await startUpstream(faults[fault])
  const stream = createStreamMiddleware(({ relay, signal }) =>
    relay(fetch(upstream.url, { method: 'POST', signal })),
  )
  const server = express().post('/v1/chat/completions', express.json(), stream).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = rawRequest({ port: server.address().port, body: { stream: true } })
  try {
    return assertCleanEnding(await client.finished())
  } finally {
    client.socket.destroy()
    server.closeAllConnections()
    server.close()
    await upstream[Symbol.asyncDispose]()
  }
}

const names = JSON.parse(await readFile('names.json', 'utf8'))
for (const [door, expected] of Object.entries(names)) {
  assert.deepEqual(Object.keys(await import(door)).sort(), expected, door)
}
assert.equal(await told('good'), undefined)
assert.equal((await told('finBeforeHead')).status, 503)
assert.equal(isStreamError(new StreamError('internal')), true)
console.log('used')
