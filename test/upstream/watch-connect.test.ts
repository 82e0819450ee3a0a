import { once } from 'node:events'
import { Agent, request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { type AddressInfo, createServer } from 'node:net'
import { expect, test } from 'vitest'
import { TimeoutCoordinator, watchConnect } from '../../src/index.js'
import { startUpstream } from '../support/scripted-upstream.js'

test('the phase ends when the connection stands', async () => {
  await using upstream = await startUpstream(() => {})
  using timeouts = new TimeoutCoordinator()
  const call = watchConnect(httpRequest(upstream.url), timeouts)
  call.on('error', () => {}).end()
  expect(timeouts.phase).toBe('connect')
  const [socket] = await once(call, 'socket')
  await once(socket, 'connect')
  expect(timeouts.phase).toBe('firstByte')
  call.destroy()
})

test('a connection that is used again has none', async () => {
  await using upstream = await startUpstream((exchange) => exchange.answer('200 OK', 'x'))
  const agent = new Agent({ keepAlive: true, timeout: 5_000 })
  for (const expected of [false, true]) {
    using timeouts = new TimeoutCoordinator()
    const call = watchConnect(httpRequest(upstream.url, { agent }), timeouts).end()
    const [socket] = await once(call, 'socket')
    if (expected) expect(timeouts.phase).toBe('firstByte')
    expect(call.reusedSocket).toBe(expected)
    const [response] = await once(call, 'response')
    for await (const _ of response);
    await new Promise(setImmediate)
    expect(socket.listenerCount('connect')).toBe(0)
  }
  agent.destroy()
})

test('FM-02: TLS is part of it: a server that never shakes hands is a connect timeout', async () => {
  const silent = createServer(() => {}).listen(0, '127.0.0.1')
  await once(silent, 'listening')
  using timeouts = new TimeoutCoordinator({ connectMs: 100 })
  const call = watchConnect(
    httpsRequest({ port: (silent.address() as AddressInfo).port, signal: timeouts.signal }),
    timeouts,
  )
  call.end()
  await once(call, 'error')
  expect(timeouts.reason).toMatchObject({ outcome: 'timeout', phase: 'connect' })
  silent.close()
})
