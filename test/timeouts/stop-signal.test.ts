import { once } from 'node:events'
import { get } from 'node:http'
import { expect, test } from 'vitest'
import type { StreamContext } from '../../src/index.js'
import { StopSignal } from '../../src/timeouts/stop-signal.js'
import { startProxy } from '../support/proxy.js'

const never = new Promise<never>(() => {})
const silent: AsyncIterable<Uint8Array> = { [Symbol.asyncIterator]: () => ({ next: () => never }) }
const readAll = async (stream: StreamContext, source: AsyncIterable<Uint8Array> | Promise<never>) => {
  for await (const _ of stream.read(source));
}

test.each([
  ['relays what never answers', (stream: StreamContext) => stream.relay(never)],
  ['relays what never says anything', (stream: StreamContext) => stream.relay(silent)],
  ['reads what never answers', (stream: StreamContext) => readAll(stream, never)],
  ['reads what never says anything', (stream: StreamContext) => readAll(stream, silent)],
])(
  'a handler that %s gets the reason why its stream is stopped, and so does whatever it writes then',
  async (_, wait) => {
    const failures: unknown[] = []
    const handler = async (stream: StreamContext) => {
      await Promise.resolve(wait(stream)).catch((error) => failures.push(error))
      await stream.writer.write({ data: 'late' }).catch((error) => failures.push(error))
    }
    await using proxy = await startProxy(handler, { timeouts: { firstByteMs: 20, inactivityMs: 20 } })
    const [response] = await once(get(proxy.url, { agent: false }), 'response')
    response.resume()

    expect(await proxy.end()).toMatchObject({ outcome: 'timeout' })
    const reason = expect.objectContaining({ name: 'TimeoutError', phase: 'firstByte' })
    await expect.poll(() => failures).toEqual([reason, reason])
  },
)

test('a listener that was taken off is not called, and no listener is called twice', () => {
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
