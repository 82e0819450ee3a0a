import { describe, expect, test } from 'vitest'
import type { StreamEnd } from '../../src/index.js'
import { chatAnswer, chatChunk } from './chat.js'
import { type Script, startUpstream } from './scripted-upstream.js'

/** What a client saw of one exchange, whatever the protocol. */
export interface Seen {
  status: number
  headers: Record<string, string>
  text: string
  /** How the body ended: as HTTP ends one, or by a cut. */
  ending: 'complete' | 'cut'
}

/** A client of the protocol that a mount serves. */
export interface ContractClient {
  /** Waits until the body so far contains the text. */
  received(text: string): Promise<void>
  /** Waits for the end. */
  finished(): Promise<Seen>
  /** Leaves. */
  leave(): void
}

/** How a test serves a handler: as a route of some framework, guarded or written the unhang way. */
export interface Mount {
  name: string
  /** Serves an app that relays `upstreamUrl`, on a free port of 127.0.0.1. */
  serve(upstreamUrl: string, settings: MountSettings): Promise<MountedServer>
}

export interface MountSettings {
  onEnd(end: StreamEnd): void
  timeouts?: { firstByteMs?: number; inactivityMs?: number }
  heartbeatMs?: number
}

export interface MountedServer extends AsyncDisposable {
  /** Asks for a chat, streaming or not. */
  ask(body: object): Promise<ContractClient>
}

/** The handler of a mount may also fail by itself: this event makes it. */
export const bugTrigger = 'make the handler fail'

/** The sentences every adapter and the guard must keep. */
export function describeContract(mount: Mount): void {
  describe(mount.name, () => {
    async function scene(script: Script, settings: Partial<MountSettings> = {}) {
      const ends: StreamEnd[] = []
      const waiting: (() => void)[] = []
      const upstream = await startUpstream(script)
      const server = await mount.serve(upstream.url, {
        ...settings,
        onEnd: (end) => {
          ends.push(end)
          for (const wake of waiting.splice(0)) wake()
        },
      })
      return {
        upstream,
        server,
        async end(): Promise<StreamEnd> {
          while (ends.length === 0) await new Promise<void>((resolve) => waiting.push(resolve))
          return ends[0] as StreamEnd
        },
        async [Symbol.asyncDispose]() {
          await server[Symbol.asyncDispose]()
          await upstream[Symbol.asyncDispose]()
        },
      }
    }

    /** One streaming request to its end. */
    async function seen(script: Script, settings: Partial<MountSettings> = {}): Promise<Seen> {
      await using s = await scene(script, settings)
      const client = await s.server.ask({ stream: true })
      return await client.finished()
    }

    const data = ({ text }: Seen) => [...text.matchAll(/^data: (.*)$/gm)].map(([, value]) => value ?? '')
    const said = (result: Seen) =>
      data(result)
        .filter((json) => json !== '[DONE]')
        .map((json) => JSON.parse(json).choices?.[0]?.delta?.content ?? '')
        .join('')

    function expectFailure(result: Seen, text: string, code: string): void {
      expect(result.status).toBe(200)
      expect(result.ending).toBe('complete')
      expect(said(result)).toBe(text)
      const errors = data(result).filter((json) => json.startsWith('{"error"'))
      expect(errors).toHaveLength(1)
      expect(data(result).at(-1)).toBe(errors[0])
      expect(JSON.parse(errors[0] ?? '').error.code).toBe(code)
    }

    test('a good stream arrives whole, with the headers of an event stream, and is recorded', async () => {
      await using s = await scene((exchange) =>
        exchange
          .open()
          .data(...chatAnswer('Hel', 'lo'))
          .end(),
      )
      const result = await (await s.server.ask({ stream: true })).finished()
      expect(result).toMatchObject({ status: 200, ending: 'complete' })
      expect(said(result)).toBe('Hello')
      expect(data(result).filter((json) => json === '[DONE]')).toHaveLength(1)
      expect(data(result).at(-1)).toBe('[DONE]')
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
      const client = await s.server.ask({ stream: true })
      await client.received('Hello')
      await (await s.upstream.exchange(0)).reset()
      expectFailure(await client.finished(), 'Hello', 'connection_reset')
      expect(await s.end()).toMatchObject({ outcome: 'upstream_hangup' })
    })

    test('one that stops in the middle of an event: the event is ended before the error event', async () => {
      const result = await seen((exchange) =>
        exchange.open().data(chatChunk('Hello')).chunk('data: {"half').fin(),
      )
      const errors = data(result).filter((json) => json.startsWith('{"error"'))
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
      const result = await (await s.server.ask({ stream: true })).finished()
      expectFailure(result, 'Hello', 'upstream_inactivity_timeout')
      await (await s.upstream.exchange(0)).closed
      expect(await s.end()).toMatchObject({ outcome: 'timeout', phase: 'inactivity' })
    })

    test('one that never begins is 504 at firstByteMs', async () => {
      const result = await seen(() => {}, { timeouts: { firstByteMs: 100 } })
      expect(result.status).toBe(504)
      expect(JSON.parse(result.text).error).toMatchObject({
        code: 'upstream_first_byte_timeout',
        param: null,
      })
    })

    test('a silent stream has heartbeats, between events only', async () => {
      await using s = await scene(
        (exchange) => exchange.open().data(chatChunk('Hello')).chunk('data: {"ha'),
        {
          heartbeatMs: 20,
        },
      )
      const client = await s.server.ask({ stream: true })
      await client.received('Hello')
      await new Promise((resolve) => setTimeout(resolve, 100))
      ;(await s.upstream.exchange(0)).chunk('lf":1}\n\n')
      await client.received('{"half":1}\n\n:\n')
      ;(await s.upstream.exchange(0)).data('[DONE]').end()
      const result = await client.finished()
      expect(result.text).not.toMatch(/"ha\n?:/)
      expect((await s.end()).heartbeats).toBeGreaterThan(0)
    })

    test('a handler that fails mid-stream is told as an internal error', async () => {
      await using s = await scene((exchange) => exchange.open().data(chatChunk('Hello'), bugTrigger))
      const result = await (await s.server.ask({ stream: true })).finished()
      expectFailure(result, 'Hello', 'internal_error')
      expect(result.text).not.toContain('hunter2')
      expect(await s.end()).toMatchObject({ outcome: 'internal' })
    })

    test('a client that leaves cancels the upstream', async () => {
      await using s = await scene((exchange) => exchange.open().data(chatChunk('Hello')))
      const client = await s.server.ask({ stream: true })
      await client.received('Hello')
      client.leave()
      await (await s.upstream.exchange(0)).closed
      expect(await s.end()).toMatchObject({ outcome: 'client_gone' })
    })

    test('a client that leaves before the head does, too', async () => {
      await using s = await scene(() => {})
      const client = await s.server.ask({ stream: true })
      const upstream = await s.upstream.exchange(0)
      client.leave()
      await upstream.closed
      expect(await s.end()).toMatchObject({ outcome: 'client_gone' })
    })

    test('a request that wants no stream is answered as ever', async () => {
      await using s = await scene((exchange) => exchange.answer('200 OK', '{"object":"chat.completion"}'))
      const result = await (await s.server.ask({ stream: false })).finished()
      expect(result).toMatchObject({ status: 200, text: '{"object":"chat.completion"}', ending: 'complete' })
      expect(result.headers['content-type']).toMatch(/^application\/json/)
      expect(result.headers).not.toHaveProperty('x-accel-buffering')
    })
  })
}

/** Every mount's JSON answer. */
export const jsonAnswer = '{"object":"chat.completion"}'
