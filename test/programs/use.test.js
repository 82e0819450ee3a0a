const { createServer } = require('node:http')
const { once } = require('node:events')
const { handleStream } = require('unhang')
const { assertCleanEnding, faults, rawRequest, startUpstream } = require('unhang/testing')

test.each([
  ['good', undefined],
  ['finBeforeHead', 503],
])('%s', async (fault, status) => {
  const upstream = await startUpstream(faults[fault])
  const server = createServer((_request, response) => {
    handleStream(response, ({ relay, signal }) => relay(fetch(upstream.url, { method: 'POST', signal })))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = await rawRequest({ port: server.address().port, body: { stream: true } }).finished()
  expect(assertCleanEnding(client)?.status).toBe(status)
  client.socket.destroy()
  server.closeAllConnections()
  server.close()
  await upstream[Symbol.asyncDispose]()
})
