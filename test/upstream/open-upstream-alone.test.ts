import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import {
  type OpenUpstreamOptions,
  openUpstream,
  readEventStream,
  type UpstreamRetry,
} from '../../src/index.js'
import { chatChunk } from '../support/chat.js'
import { startProxy } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { good, type Script, startUpstream } from '../support/scripted-upstream.js'

const busy: Script = (exchange) => exchange.answer('503 Busy', '{"error":"busy"}', 'Retry-After: 0')
const hangsUp: Script = (exchange) => exchange.fin()

beforeEach(() => void vi.spyOn(Math, 'random').mockReturnValue(0))
afterEach(() => void vi.restoreAllMocks())

/** Calls an upstream that does something else at each call; the last goes on. */
async function called(scripts: Script[], options?: OpenUpstreamOptions) {
  const attempts: number[] = []
  await using upstream = await startUpstream((exchange) => {
    scripts[Math.min(upstream.exchanges.length, scripts.length) - 1]?.(exchange)
  })
  const open = ({ signal, attempt }: { signal: AbortSignal; attempt: number }) => {
    attempts.push(attempt)
    return fetch(upstream.url, { method: 'POST', signal })
  }
  const answer = await openUpstream(open, options).then(
    async (response) => {
      const data: string[] = []
      for await (const event of readEventStream(response)) data.push(event.data)
      return data.length
    },
    (error: Error) => error,
  )
  return { answer, attempts }
}

describe('outside of a stream', () => {
  test('it retries once if that is safe, and says so', async () => {
    const retries: UpstreamRetry[] = []
    const { answer, attempts } = await called([busy, good], { onRetry: (retry) => retries.push(retry) })
    expect(answer).toBe(3)
    expect(attempts).toEqual([1, 2])
    expect(retries).toEqual([
      { attempt: 1, error: expect.objectContaining({ outcome: 'upstream_error', status: 503 }), delayMs: 0 },
    ])
  })

  test('as often as it may', async () => {
    expect(await called([busy, busy, busy, good], { retries: 3 })).toEqual({
      answer: 3,
      attempts: [1, 2, 3, 4],
    })
    const { answer, attempts } = await called([busy, good], { retries: 0 })
    expect(answer).toMatchObject({ name: 'UpstreamError', upstreamStatus: 503 })
    expect(attempts).toEqual([1])
  })

  test('shouldRetry decides', async () => {
    const asked: [string, number][] = []
    const not = await called([busy, good], {
      shouldRetry: (error, attempt) => {
        asked.push([error.outcome, attempt])
        return false
      },
    })
    expect(not.answer).toMatchObject({ upstreamStatus: 503 })
    expect(asked).toEqual([['upstream_error', 1]])
    expect((await called([hangsUp, good], {})).answer).toMatchObject({ outcome: 'upstream_hangup' })
    expect((await called([hangsUp, good], { shouldRetry: () => true })).answer).toBe(3)
    expect((await called([busy, good], { shouldRetry: () => undefined })).answer).toBe(3)
  })

  test('a deadline ends the call', async () => {
    const { answer } = await called([() => {}], { timeouts: { firstByteMs: 50 } })
    expect(answer).toMatchObject({ name: 'TimeoutError', outcome: 'timeout', phase: 'firstByte' })
  })

  test('but not an answer that has begun', async () => {
    const slow: Script = async (exchange) => {
      exchange.open().data(chatChunk('Hi'))
      await new Promise((resolve) => setTimeout(resolve, 200))
      exchange.data(chatChunk('', 'stop'), '[DONE]').end()
    }
    const timeouts = { firstByteMs: 60, inactivityMs: 70, totalMs: 80 }
    expect((await called([slow], { timeouts })).answer).toBe(3)
  })

  test("the caller's signal ends the call", async () => {
    const controller = new AbortController()
    const calling = called([() => {}], { signal: controller.signal })
    setTimeout(() => controller.abort(new Error('enough')), 50)
    expect((await calling).answer).toMatchObject({
      name: 'AbortError',
      outcome: 'aborted',
      cause: { message: 'enough' },
    })
    const { answer, attempts } = await called([good], { signal: AbortSignal.abort() })
    expect(answer).toMatchObject({ outcome: 'aborted' })
    expect(attempts.length).toBeLessThanOrEqual(1)
  })

  test('and the wait before the next', async () => {
    const controller = new AbortController()
    const later: Script = (exchange) => exchange.answer('503 Busy', '{}', 'Retry-After: 5')
    const { answer, attempts } = await called([later, good], {
      signal: controller.signal,
      onRetry: () => setTimeout(() => controller.abort(), 20),
    })
    expect(answer).toMatchObject({ outcome: 'aborted' })
    expect(attempts).toEqual([1])
  })

  test('and, later, the body', async () => {
    await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hi')))
    const controller = new AbortController()
    const open = ({ signal }: { signal: AbortSignal }) => fetch(upstream.url, { method: 'POST', signal })
    const response = await openUpstream(open, { signal: controller.signal })
    const reading = response.text()
    controller.abort(new Error('enough'))
    await expect(reading).rejects.toMatchObject({ message: 'enough' })
    await (await upstream.exchange(0)).closed
  })
})

test('a signal that many calls share collects no listeners', async () => {
  await using upstream = await startUpstream((exchange) => exchange.open().end())
  const { signal } = new AbortController()
  const added = vi.spyOn(signal, 'addEventListener')
  const removed = vi.spyOn(signal, 'removeEventListener')
  for (let calls = 0; calls < 20; calls++) {
    const response = await openUpstream(
      ({ signal: each }) => fetch(upstream.url, { method: 'POST', signal: each }),
      { signal },
    )
    await response.text()
  }
  expect(added.mock.calls.length - removed.mock.calls.length).toBe(0)
})

test('a Retry-After longer than any timer is passed on, and not waited for', async () => {
  await using upstream = await startUpstream((exchange) =>
    exchange.answer('429 No', '{}', 'Retry-After: 3000000'),
  )
  const open = () => fetch(upstream.url, { method: 'POST' })
  await expect(openUpstream(open, { timeouts: false })).rejects.toMatchObject({ upstreamStatus: 429 })
  expect(upstream.exchanges).toHaveLength(1)
})

test('retries are counted in the record of a stream', async () => {
  await using upstream = await startUpstream((exchange) => {
    const script = upstream.exchanges.length < 3 ? busy : good
    script(exchange)
  })
  const retries: UpstreamRetry[] = []
  await using proxy = await startProxy(async ({ relay, openUpstream }) => {
    const open = ({ signal }: { signal: AbortSignal }) => fetch(upstream.url, { method: 'POST', signal })
    await relay(await openUpstream(open, { retries: 2, onRetry: (retry) => retries.push(retry) }))
  })
  using client = await rawRequest({ port: proxy.port, body: {} }).finished()
  expect(client.status).toBe(200)
  expect(await proxy.end()).toMatchObject({ outcome: 'completed', retries: 2 })
  expect(retries.map(({ attempt }) => attempt)).toEqual([1, 2])
})
