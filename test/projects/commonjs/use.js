const assert = require('node:assert/strict')
const { once } = require('node:events')
const { Readable } = require('node:stream')
const Koa = require('koa')
const { isStreamError, StreamError } = require('unhang')
const { guardStreams } = require('unhang/koa')
const { assertCleanEnding, rawRequest } = require('unhang/testing')

/** The error that a client gets when its handler writes these events. */
async function told(...events) {
  const app = new Koa()
  app.use(guardStreams())
  app.use((context) => {
    context.type = 'text/event-stream'
    context.body = Readable.from(events)
  })
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = rawRequest({ port: server.address().port, body: { stream: true } })
  try {
    return assertCleanEnding(await client.finished())
  } finally {
    client.socket.destroy()
    server.closeAllConnections()
    server.close()
  }
}

async function main() {
  for (const [door, expected] of Object.entries(require('./names.json'))) {
    assert.deepEqual(Object.keys(require(door)).sort(), expected, door)
  }
  const chunk =
    'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
  assert.equal(await told(chunk, 'data: [DONE]\n\n'), undefined)
  assert.equal((await told(chunk)).code, 'upstream_truncated')
  assert.equal(isStreamError(new StreamError('internal')), true)
  const other = await import('unhang')
  assert.equal(other.isStreamError(new StreamError('internal')), true)
  console.log('used')
}

main()
