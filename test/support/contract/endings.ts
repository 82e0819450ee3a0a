import { expect, test } from 'vitest'
import { chatAnswer, chatChunk } from '../chat.js'
import type { Script } from '../scripted-upstream.js'
import { bugTrigger, jsonAnswer, type Mount, type MountSettings } from './mount.js'
import { startScene } from './scene.js'
import { errorsIn, expectAnswer, expectFailure, type Seen } from './seen.js'

/** The response that a client gets, however its stream ends. */
export function testEndings(mount: Mount): void {
  const scene = (script: Script, options: MountSettings['options'] = {}) =>
    startScene(mount, script, { options })

  /** One streaming request to its end. */
  async function seen(script: Script, options: MountSettings['options'] = {}): Promise<Seen> {
    await using s = await scene(script, options)
    const client = await s.ask({ mapped: true })
    return await client.finished()
  }

  test('a good stream arrives whole, with the headers of an event stream, and is recorded', async () => {
    await using s = await scene((exchange) =>
      exchange
        .open()
        .data(...chatAnswer('Hel', 'lo'))
        .end(),
    )
    const result = await (await s.ask({ mapped: true })).finished()
    expectAnswer(result, 'Hello')
    expect(result.headers).toMatchObject({ 'x-accel-buffering': 'no', 'x-content-type-options': 'nosniff' })
    expect(result.headers['content-type']).toMatch(/^text\/event-stream/)
    expect(result.headers['cache-control']).toContain('no-transform')
    expect(await s.end()).toMatchObject({ outcome: 'completed', sawTerminal: true, status: 200 })
  })

  test('an upstream that hangs up mid-stream is an error event and a clean end', async () => {
    const result = await seen((exchange) => exchange.open().data(chatChunk('Hel'), chatChunk('lo')).fin())
    expectFailure(result, 'Hello', 'connection_reset')
  })

  test('one that resets mid-stream, too', async () => {
    await using s = await scene((exchange) => exchange.open().data(chatChunk('Hello')))
    const client = await s.ask({ mapped: true })
    await client.received('Hello')
    await (await s.exchange(0)).reset()
    expectFailure(await client.finished(), 'Hello', 'connection_reset')
    expect(await s.end()).toMatchObject({ outcome: 'upstream_hangup' })
  })

  test('one that stops in the middle of an event: the event is ended before the error event', async () => {
    const result = await seen((exchange) =>
      exchange.open().data(chatChunk('Hello')).chunk('data: {"half').fin(),
    )
    const errors = errorsIn(result)
    expect(errors).toHaveLength(1)
    expect(result.ending).toBe('complete')
  })

  test('one that ends without a terminal event is truncated', async () => {
    const result = await seen((exchange) => exchange.open().data(chatChunk('Hello')).end())
    expectFailure(result, 'Hello', 'upstream_truncated')
  })

  test('one that falls silent is ended at inactivityMs, and let go', async () => {
    await using s = await scene((exchange) => exchange.open().data(chatChunk('Hello')), {
      timeouts: { inactivityMs: 100 },
    })
    // Nothing reaches a handler's own loop but the signal of a guard that has been there from the start.
    const result = await (await s.ask({ mapped: !mount.isLate })).finished()
    expectFailure(result, 'Hello', 'upstream_inactivity_timeout')
    await (await s.exchange(0)).closed
    expect(await s.end()).toMatchObject({ outcome: 'timeout', phase: 'inactivity' })
  })

  if (!mount.isLate)
    test('one that never begins is 504 at firstByteMs', async () => {
      const result = await seen(() => {}, { timeouts: { firstByteMs: 100 } })
      expect(result.status).toBe(504)
      expect(JSON.parse(result.text).error).toMatchObject({
        code: 'upstream_first_byte_timeout',
        param: null,
      })
    })

  test('a silent stream has heartbeats, between events only', async () => {
    await using s = await scene((exchange) => exchange.open().data(chatChunk('Hello')).chunk('data: {"ha'), {
      writer: { heartbeatMs: 20 },
    })
    const client = await s.ask({ mapped: true })
    await client.received('Hello')
    await new Promise((resolve) => setTimeout(resolve, 100))
    ;(await s.exchange(0)).chunk('lf":1}\n\n')
    await client.received('{"half":1}\n\ndata: {"id":"chatcmpl-1"')
    ;(await s.exchange(0)).data('[DONE]').end()
    const result = await client.finished()
    expect(result.text).not.toMatch(/"ha\n?:/)
    expect((await s.end()).heartbeats).toBeGreaterThan(0)
  })

  test('a handler that fails mid-stream is told as an internal error', async () => {
    await using s = await scene((exchange) => exchange.open().data(chatChunk('Hello'), bugTrigger))
    const result = await (await s.ask({ mapped: true })).finished()
    expectFailure(result, 'Hello', 'internal_error')
    expect(result.text).not.toContain('hunter2')
    expect(await s.end()).toMatchObject({ outcome: 'internal' })
  })

  test('a client that leaves cancels the upstream', async () => {
    await using s = await scene((exchange) => exchange.open().data(chatChunk('Hello')))
    const client = await s.ask({ mapped: true })
    await client.received('Hello')
    client.leave()
    await (await s.exchange(0)).closed
    expect(await s.end()).toMatchObject({ outcome: 'client_gone' })
  })

  test('a client that leaves before the head does, too', async () => {
    await using s = await scene(() => {})
    const client = await s.ask({ mapped: true })
    const upstream = await s.exchange(0)
    client.leave()
    await upstream.closed
    if (!mount.isLate) expect(await s.end()).toMatchObject({ outcome: 'client_gone' })
  })

  test('a request that wants no stream has its response as ever', async () => {
    await using s = await scene((exchange) => exchange.answer('200 OK', jsonAnswer))
    const result = await (await s.ask({ stream: false })).finished()
    expect(result).toMatchObject({ status: 200, text: jsonAnswer, ending: 'complete' })
    expect(result.headers['content-type']).toMatch(/^application\/json/)
    expect(result.headers).not.toHaveProperty('x-accel-buffering')
  })
}
