import { expect, test } from 'vitest'
import { isStreamError, openUpstream, type StreamContext, type UpstreamSource } from '../../src/index.js'
import { oddValues } from '../support/odd-values.js'
import { startProxy } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'

const as = (value: unknown) => value as UpstreamSource
// A promise that is fulfilled with a thenable waits for it.
const resolved = (value: unknown) => Promise.resolve([value]).then(([each]) => as(each))

/** Each is a handler with a bug, or one that was let down. */
const handlers: Record<string, (stream: StreamContext, value: unknown) => unknown> = {
  'is thrown': (_stream, value) => {
    throw value
  },
  'is what a call rejects with': ({ relay }, value) => relay(Promise.reject(value)),
  'is what a call that may be retried rejects with': ({ openUpstream, relay }, value) =>
    relay(openUpstream(() => Promise.reject(value))),
  'comes in place of a response': ({ relay }, value) => relay(as(value)),
  'comes later in place of a response': ({ relay }, value) => relay(resolved(value)),
  'comes of a call that may be retried': ({ openUpstream, relay }, value) =>
    relay(openUpstream(() => resolved(value))),
  'is read in place of a response': async ({ read }, value) => {
    for await (const _ of read(as(value)));
  },
}

// Not by test.each: it prints its values.
for (const [what, value] of oddValues) {
  for (const [how, handler] of Object.entries(handlers)) {
    test(`${what} ${how}: the client has a status, and the process lives`, async () => {
      await using proxy = await startProxy((stream) => handler(stream, value), {
        timeouts: { firstByteMs: 300, connectMs: 300 },
      })
      using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
      expect(client.status).toBeGreaterThanOrEqual(500)
      expect((await proxy.end()).outcome).not.toBe('completed')
    })
  }

  test(`${what} is what a call outside of a stream rejects with`, async () => {
    const failure = await openUpstream(() => Promise.reject(value)).catch((error) => error)
    expect(isStreamError(failure)).toBe(true)
  })
}

test('a signal in place of a response', async () => {
  await using proxy = await startProxy(({ relay, signal }) => relay(signal as never))
  using client = await rawRequest({ port: proxy.port, body: { stream: true } }).finished()
  expect(client.status).toBe(500)
})
