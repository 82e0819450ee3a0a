import { describe, expect, test } from 'vitest'
import { guardStreams } from '../../src/adapters/express.js'
import { guardStreams as guardKoa } from '../../src/adapters/koa.js'
import { getSignal, getStream, type StreamEnd, wrapApp } from '../../src/index.js'
import { listen } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { expectWarning } from '../support/warnings.js'

describe('timeouts as a function of the request', () => {
  test('each request has its own', async () => {
    const ends: StreamEnd[] = []
    const pick = ({ url }: { url?: string | undefined }) =>
      url === '/v1/chat/completions' ? { firstByteMs: 30 } : false
    const options = { timeouts: pick, onEnd: (end: StreamEnd) => ends.push(end) }
    await using server = await listen(wrapApp(() => {}, options))
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(client.status).toBe(504)
    expect(ends).toMatchObject([{ outcome: 'timeout', phase: 'firstByte' }])
  })

  test('one that gets them wrong costs no client its response', async () => {
    const warned = expectWarning(/timeouts\(request\) failed, the defaults are used: .*totalMs/)
    const handler = wrapApp((_request, response) => void response.end('{}'), {
      timeouts: () => ({ totalMs: -1 }),
    })
    await using server = await listen(handler)
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(client.bodyText).toBe('{}')
    await warned
  })
})

describe('skip', () => {
  test('a request that is skipped is left alone, and its signal never aborts', async () => {
    const seen: unknown[] = []
    const skip = ({ url }: { url?: string | undefined }) => url === '/v1/chat/completions'
    await using server = await listen(
      wrapApp(
        (request, response) => {
          seen.push(getStream(request), getSignal(request).aborted)
          response.writeHead(200, { 'Content-Type': 'text/event-stream' }).end('data: x')
        },
        { skip },
      ),
    )
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(client.bodyText).toBe('data: x')
    expect(client.header('cache-control')).toBeUndefined()
    expect(seen).toEqual([undefined, false])
  })

  test('is asked once for each request; one that fails costs no client its response', async () => {
    const warned = expectWarning(/skip\(request\) failed, the response is guarded: Error: no skip/)
    let asked = 0
    const skip = () => {
      asked++
      throw new Error('no skip')
    }
    await using server = await listen(wrapApp((_request, response) => void response.end('{}'), { skip }))
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(client.bodyText).toBe('{}')
    expect(asked).toBe(1)
    await warned
  })

  test.each([guardStreams, guardKoa, (options: object) => wrapApp(() => {}, options)])(
    'anything but a function is refused',
    (guard) => {
      expect(() => guard({ skip: '/metrics' as never })).toThrow('skip must be a function, got "/metrics"')
    },
  )
})
