import { expect, test } from 'vitest'
import type { StreamEnd } from '../../src/index.js'
import { getSignal, relayResponse, wrapApp } from '../../src/web/index.js'
import { chatChunk, failureOf } from '../support/chat.js'
import { eventStream, wire } from '../support/wire.js'

// A handler that responds with relayResponse, or does not after all, inside a guard.

const asked = () =>
  new Request('http://localhost/v1/chat/completions', {
    method: 'POST',
    headers: { accept: 'text/event-stream' },
  })
const refused = () => Response.json({ error: { message: 'no' } }, { status: 503 })
const dataOf = (text: string) => [...text.matchAll(/^data: (.*)$/gm)].map(([, data]) => data as string)

test('a fallback to another upstream is guarded, and its signal is sound', async () => {
  const ends: StreamEnd[] = []
  const guarded = wrapApp(
    async (request: Request) => {
      const first = await relayResponse(refused, undefined, { request })
      expect(first.status).toBe(503)
      expect(getSignal(request).aborted).toBe(false)
      return new Response(wire(chatChunk('Hel')), { headers: eventStream })
    },
    { onEnd: (end) => void ends.push(end) },
  )
  const response = await guarded(asked())
  expect(failureOf(dataOf(await response.text())).code).toBe('upstream_truncated')
  await expect
    .poll(() => ends.map(({ outcome }) => outcome))
    .toEqual(['upstream_error', 'upstream_truncated'])
})

test('a handler that throws after it is reported to its client', async () => {
  const guarded = wrapApp(
    async (request: Request) => {
      await relayResponse(refused, undefined, { request })
      throw new Error('a bug')
    },
    { onEnd: () => true },
  )
  const response = await guarded(asked())
  expect(response.status).toBe(500)
  expect(await response.json()).toMatchObject({ error: { code: 'internal_error' } })
})

test('the signal of the request aborts at a deadline of the relayed stream', async () => {
  let signal: AbortSignal | undefined
  const guarded = wrapApp(
    (request: Request) => {
      signal = getSignal(request)
      return relayResponse(() => new Promise<Response>(() => {}), undefined, { request })
    },
    { timeouts: { firstByteMs: 50 } },
  )
  const response = await guarded(asked())
  expect(response.status).toBe(504)
  expect(signal?.aborted).toBe(true)
})
