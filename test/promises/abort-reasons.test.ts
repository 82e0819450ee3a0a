import { once } from 'node:events'
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import {
  drainStreams,
  getSignal,
  handleStream,
  isStreamError,
  type StreamTimeouts,
  wrapApp,
} from '../../src/index.js'
import { chatChunk } from '../support/chat.js'
import { rawRequest } from '../support/raw-client.js'
import { type Script, startUpstream } from '../support/scripted-upstream.js'
import { withResolvers } from '../support/with-resolvers.js'

const silent: Script = () => {}
const begun: Script = (exchange) => exchange.open().data(chatChunk('Hi'))

type Handler = (response: ServerResponse, signal: AbortSignal) => Promise<void>
type Mount = (handler: Handler, timeouts: StreamTimeouts, stop: AbortSignal) => RequestListener

const route: Mount = (handler, timeouts, signal) => (_request, response) => {
  const fill = ({ signal }: { signal: AbortSignal }) => handler(response, signal)
  void handleStream(response, fill, { timeouts, signal })
}
const guard: Mount = (handler, timeouts) =>
  wrapApp((request: IncomingMessage, response) => handler(response, getSignal(request)), {
    timeouts,
    detect: { paths: ['/v1/chat/completions'] },
  })

interface Situation {
  client: { socket: { destroy(): unknown } }
  server: Server
  stop: AbortController
}

async function portOf(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** The error that a handler, years old, catches around its `fetch`. */
async function caught(mount: Mount, script: Script, act: (situation: Situation) => unknown, timeouts = {}) {
  await using upstream = await startUpstream(script)
  const failed = withResolvers<Error>()
  const calling = withResolvers()
  const stop = new AbortController()
  const handler: Handler = async (_response, signal) => {
    try {
      const answer = await fetch(upstream.url, { method: 'POST', signal })
      const reading = answer.text()
      calling.resolve()
      await reading
    } catch (error) {
      failed.resolve(error as Error)
      throw error
    }
  }
  const server = createServer(mount(handler, timeouts, stop.signal))
  const port = await portOf(server)
  const client = rawRequest({ port, body: { stream: true } })
  await (script === silent ? upstream.exchange(0) : calling.promise)
  await act({ client, server, stop })
  const error = await failed.promise
  client.socket.destroy()
  server.closeAllConnections()
  server.close()
  return error
}

describe.each([
  ['a route', route],
  ['the guard', guard],
])('in %s, fetch rejects with', (_name, mount) => {
  describe.each([
    ['before the answer', silent],
    ['in the middle of it', begun],
  ])('%s', (_when, script) => {
    test('AbortError when the client leaves', async () => {
      const error = await caught(mount, script, ({ client }) => client.socket.destroy())
      expect(error).toMatchObject({ name: 'AbortError', outcome: 'client_gone', code: 'client_disconnected' })
      expect(isStreamError(error)).toBe(true)
    })

    test('AbortError on shutdown', async () => {
      const act = ({ server }: Situation) => void drainStreams(server, { graceMs: 20, forceMs: 100 })
      const error = await caught(mount, script, act)
      expect(error).toMatchObject({ name: 'AbortError', outcome: 'shutdown', status: 503 })
      expect(isStreamError(error)).toBe(true)
    })

    test('TimeoutError at a deadline', async () => {
      const error = await caught(mount, script, () => {}, { firstByteMs: 100 })
      expect(error).toMatchObject({ name: 'TimeoutError', outcome: 'timeout', timeoutMs: 100, status: 504 })
      expect(isStreamError(error)).toBe(true)
    })
  })
})

test('in a route, fetch rejects with AbortError when the signal of the caller aborts', async () => {
  const error = await caught(route, begun, ({ stop }) => stop.abort(new Error('enough')))
  expect(error).toMatchObject({ name: 'AbortError', outcome: 'aborted', cause: { message: 'enough' } })
  expect(isStreamError(error)).toBe(true)
})

test('the signal of a request that nothing guards never aborts', async () => {
  const signals: AbortSignal[] = []
  const left = withResolvers()
  const server = createServer((request, response) => {
    signals.push(getSignal(request))
    response.on('close', left.resolve)
    response.writeHead(200).write('x')
  })
  const client = rawRequest({ port: await portOf(server), body: {} })
  while (client.status === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  client.socket.destroy()
  await left.promise
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(signals[0]).toBeInstanceOf(AbortSignal)
  expect(signals[0]?.aborted).toBe(false)
  server.close()
})
