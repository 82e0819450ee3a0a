import { once } from 'node:events'
import { createServer, get } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { handleStream, type Stream } from '../src/index.js'
import { StopSignal } from '../src/stop-signal.js'
import { withResolvers } from './support/with-resolvers.js'

const never = new Promise<never>(() => {})
const silent: AsyncIterable<Uint8Array> = { [Symbol.asyncIterator]: () => ({ next: () => never }) }
const readAll = async (stream: Stream, source: AsyncIterable<Uint8Array> | Promise<never>) => {
  for await (const _ of stream.read(source));
}

test.each([
  ['relays what never answers', (stream: Stream) => stream.relay(never)],
  ['relays what never says anything', (stream: Stream) => stream.relay(silent)],
  ['reads what never answers', (stream: Stream) => readAll(stream, never)],
  ['reads what never says anything', (stream: Stream) => readAll(stream, silent)],
])(
  'a handler that %s is told why its stream is stopped, and so is whatever it writes then',
  async (_, wait) => {
    const failures: unknown[] = []
    const handler = async (stream: Stream) => {
      await Promise.resolve(wait(stream)).catch((error) => failures.push(error))
      await stream.writer.write({ data: 'late' }).catch((error) => failures.push(error))
    }
    const ended = withResolvers<unknown>()
    const server = createServer((request, response) => {
      request.resume()
      const timeouts = { firstByteMs: 20, inactivityMs: 20 }
      handleStream(response, handler, { timeouts }).then(ended.resolve, ended.reject)
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const { port } = server.address() as AddressInfo
    const [response] = await once(get({ port, host: '127.0.0.1', agent: false }), 'response')
    response.resume()

    expect(await ended.promise).toMatchObject({ outcome: 'timeout' })
    const reason = expect.objectContaining({ name: 'StreamTimeoutError', phase: 'firstByte' })
    await expect.poll(() => failures).toEqual([reason, reason])
    await new Promise((resolve) => server.close(resolve))
  },
)

test('a listener that was taken off is not told, and nobody is told twice', () => {
  const signal = new StopSignal()
  const told: string[] = []
  const first = () => void told.push('first')
  const second = { handleEvent: () => void told.push('second') }
  signal.addEventListener('abort', first)
  signal.addEventListener('abort', second)
  signal.removeEventListener('abort', first)
  signal.removeEventListener('abort', first)
  signal.abort('why')
  signal.abort('again')
  expect(told).toEqual(['second'])
  expect(signal).toMatchObject({ aborted: true, reason: 'why' })
})
