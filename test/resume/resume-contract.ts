import { once } from 'node:events'
import { connect } from 'node:net'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { drainStreams, StreamError } from '../../src/index.js'
import { failureOf } from '../support/chat.js'
import { withResolvers } from '../support/with-resolvers.js'
import {
  chatEvents,
  eventsIn,
  type Produce,
  type Producing,
  type ResumableServer,
  type ResumeMount,
  readSome,
  routeMount,
  startResumable,
  user,
} from './resumable.js'
import type { StoresUnderTest } from './store-contract.js'

type Options = Parameters<typeof startResumable>[3]
type StreamOptions = Parameters<typeof startResumable>[4]

const chat = '/v1/chat/completions'

/** The promises to clients of recorded streams, with any store: one process produces, another one has the readers. */
export function resumeContract(
  name: string,
  makeStores: () => Promise<StoresUnderTest>,
  mount: ResumeMount = routeMount,
): void {
  describe(`a client that rejoins its stream of ${mount.name}, recorded in ${name}`, () => {
    const closing: (() => unknown)[] = []

    afterEach(async () => {
      for (const close of closing.splice(0).reverse()) await close()
    })

    async function start(produce: Produce, options: Options = {}, streamOptions: StreamOptions = {}) {
      const stores = await makeStores()
      closing.push(() => stores.close())
      const producer = await startResumable(mount, stores.producer, produce, options, streamOptions)
      closing.push(() => producer[Symbol.asyncDispose]())
      const reader = await startResumable(mount, stores.reader, produce, options, streamOptions)
      closing.push(() => reader[Symbol.asyncDispose]())
      return { stores, producer, reader }
    }

    /** A handler that writes these, and after so many of them waits until it is let on. */
    function paced(events: readonly string[], ...stops: number[]) {
      const gates = stops.map(() => withResolvers())
      const produce = async ({ writer }: Producing) => {
        for (const [at, data] of events.entries()) {
          const gate = stops.indexOf(at)
          if (gate >= 0) await gates[gate]?.promise
          await writer.write(data)
        }
      }
      return { produce, letOn: (gate = 0) => gates[gate]?.resolve() }
    }

    const post = (server: ResumableServer, until: number, headers: Record<string, string> = user) =>
      readSome(server.url + chat, { method: 'POST', headers }, until)
    const rejoin = (
      server: ResumableServer,
      id: string,
      query = '',
      headers: Record<string, string> = user,
    ) => fetch(`${server.url}/v1/streams/${id}${query}`, { headers })
    const stop = (server: ResumableServer, id: string, headers: Record<string, string> = user) =>
      fetch(`${server.url}/v1/streams/${id}`, { method: 'DELETE', headers })
    const idOf = (response: Response) => response.headers.get('unhang-stream') as string
    const recorded = (server: ResumableServer, id: string, last: number, timeout = 5_000) =>
      expect.poll(async () => (await server.resume.find(id))?.last, { timeout }).toBe(last)

    test('gets the events that it has missed, and then the live rest', async () => {
      const events = chatEvents(62)
      const { produce, letOn } = paced(events, 20)
      const { producer, reader } = await start(produce)
      const first = await post(producer, 10)
      const id = idOf(first.response)
      first.leave()
      expect(first.events).toEqual(events.slice(0, first.events.length))
      await recorded(reader, id, 20)
      const rest = await rejoin(reader, id, `?after=${first.events.length}`)
      letOn()
      expect([...first.events, ...eventsIn(await rest.text())]).toEqual(events)
      expect(idOf(rest)).toBe(id)
      expect(rest.headers.get('cache-control')).toBe('no-store, no-transform')
      await expect
        .poll(() => producer.ends)
        .toMatchObject([{ outcome: 'completed', streamId: id, recorded: true, detached: true, events: 62 }])
      expect(reader.ends).toMatchObject([
        { outcome: 'completed', streamId: id, recorded: false, detached: false },
      ])
      // Text of a model is counted once.
      expect(producer.ends[0]?.usage).toEqual({ outputTokens: 60, source: 'counted' })
      expect(reader.ends[0]?.usage).toBeUndefined()
    })

    test('twelve times, with a second reader beside it: every event once, in order', async () => {
      const events = chatEvents(400)
      let written = 0
      const begun = withResolvers()
      const produce: Produce = async ({ writer }) => {
        await begun.promise
        for (const data of events) {
          await writer.write(data)
          if (++written % 5 === 0) await new Promise((resolve) => setTimeout(resolve, 2))
        }
      }
      // Its headers come before its first event.
      const { producer, reader } = await start(produce, {}, { writer: { headersAfterMs: 1 } })
      const first = await post(producer, 0)
      const id = idOf(first.response)
      const beside = rejoin(producer, id).then((response) => response.text())
      const got: string[] = []
      begun.resolve()
      first.leave()
      for (let connection = 1; connection <= 12; connection++) {
        const url = `${(connection % 2 ? reader : producer).url}/v1/streams/${id}?after=${got.length}`
        const part = await readSome(url, { headers: user }, 30)
        part.leave()
        got.push(...part.events)
      }
      got.push(...eventsIn(await (await rejoin(reader, id, `?after=${got.length}`)).text()))
      expect(got).toEqual(events)
      expect(eventsIn(await beside)).toEqual(events)
    })

    test('after the end: as often as it likes, from wherever it likes', async () => {
      const events = chatEvents(12)
      const { producer, reader } = await start(paced(events).produce)
      const first = await post(producer, 12)
      const id = idOf(first.response)
      await expect.poll(async () => (await reader.resume.find(id))?.end?.outcome).toBe('completed')
      for (const after of [0, 5, 11, 12]) {
        const response = await rejoin(reader, id, `?after=${after}`)
        expect(response.status).toBe(200)
        expect(eventsIn(await response.text())).toEqual(events.slice(after))
      }
    })

    test('no POST has ids; a GET of an EventSource has, and any request that asks for them', async () => {
      const events = chatEvents(5)
      const { producer, reader } = await start(paced(events).produce)
      const accept = { ...user, accept: 'text/event-stream' }
      const first = await post(producer, 5, accept)
      expect(first.body).not.toMatch(/^id:/m)
      const id = idOf(first.response)
      await expect.poll(async () => (await reader.resume.find(id))?.end?.outcome).toBe('completed')
      expect(await (await rejoin(reader, id)).text()).not.toMatch(/^id:/m)
      for (const headers of [accept, { ...user, 'unhang-ids': '1' }]) {
        const body = await (await rejoin(reader, id, '?after=2', headers)).text()
        expect(body.match(/^id: .*$/gm)).toEqual(['id: 3', 'id: 4', 'id: 5'])
        expect(eventsIn(body)).toEqual(events.slice(2))
      }
      // It asks again and again, unless it hears that there is nothing more.
      const last = { ...accept, 'last-event-id': '5' }
      expect((await rejoin(reader, id, '?after=2', last)).status).toBe(204)
    })

    test('no heartbeat is an event', async () => {
      const events = chatEvents(4)
      const { produce, letOn } = paced(events, 2)
      const { producer, reader } = await start(produce, {}, { writer: { heartbeatMs: 20 } })
      const headers = { ...user, accept: '*/*' }
      const controller = new AbortController()
      const init = { method: 'POST', headers, signal: controller.signal }
      const response = await fetch(producer.url + chat, init)
      let body = ''
      const decoder = new TextDecoder()
      for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
        body += decoder.decode(chunk)
        if (/^:$/m.test(body)) letOn()
      }
      expect(body).toMatch(/^:$/m)
      expect(eventsIn(body)).toEqual(events)
      const replayed = await (await rejoin(reader, idOf(response))).text()
      expect(eventsIn(replayed)).toEqual(events)
    })

    test('a failure is reported to each reader as to the first client', async () => {
      const { producer, reader } = await start(async ({ writer }) => {
        for (const data of chatEvents(20).slice(0, 6)) await writer.write(data)
        throw new StreamError('upstream_hangup', { message: 'It hung up, as it were.' })
      })
      const { events, response } = await post(producer, Number.POSITIVE_INFINITY)
      expect(failureOf(events)).toMatchObject({
        code: 'connection_reset',
        message: 'It hung up, as it were.',
      })
      for (const after of [0, 4, events.length - 1]) {
        const again = eventsIn(await (await rejoin(reader, idOf(response), `?after=${after}`)).text())
        expect(again).toEqual(events.slice(after))
      }
      expect(reader.ends.map(({ outcome }) => outcome)).toEqual([
        'upstream_hangup',
        'upstream_hangup',
        'upstream_hangup',
      ])
      // The event that told of it has an id as well, so that an EventSource hears of it once.
      const accept = { ...user, accept: 'text/event-stream' }
      const body = await (await rejoin(reader, idOf(response), '?after=0', accept)).text()
      expect(body.match(/^id: .*$/gm)?.at(-1)).toBe(`id: ${events.length}`)
      const last = { ...accept, 'last-event-id': String(events.length) }
      expect((await rejoin(reader, idOf(response), '', last)).status).toBe(204)
    })

    test('a failure is reported in the dialect that the events have shown', async () => {
      const { producer, reader } = await start(async ({ writer }) => {
        for (const data of chatEvents(6).slice(0, 3)) await writer.write(data)
        throw new StreamError('upstream_hangup')
      })
      const first = await readSome(
        `${producer.url}/ask`,
        { method: 'POST', headers: user },
        Number.POSITIVE_INFINITY,
      )
      expect(failureOf(first.events)).toMatchObject({ code: 'connection_reset' })
      for (const after of [0, 1, 3]) {
        const again = await rejoin(reader, idOf(first.response), `?after=${after}`)
        expect(eventsIn(await again.text())).toEqual(first.events.slice(after))
      }
    })

    test('a failure before the first event has its status', async () => {
      const { producer, reader } = await start(() => {
        throw new StreamError('internal', {
          status: 422,
          code: 'no_messages',
          message: 'There are no messages.',
        })
      })
      const first = await post(producer, Number.POSITIVE_INFINITY)
      expect(first.response.status).toBe(422)
      await expect
        .poll(async () => (await reader.resume.find(idOf(first.response)))?.end?.code)
        .toBe('no_messages')
      const again = await rejoin(reader, idOf(first.response))
      expect(again.status).toBe(422)
      expect(await again.json()).toMatchObject({
        error: { code: 'no_messages', message: 'There are no messages.' },
      })
    })

    test('a stream goes on for detachMs, and is then aborted', async () => {
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
      try {
        const events = chatEvents(20)
        const { produce } = paced(events, 6)
        let signal: AbortSignal | undefined
        const closed = withResolvers()
        const { producer } = await start(
          (stream, onLeft) => {
            signal = stream.signal
            onLeft(() => closed.resolve())
            return produce(stream)
          },
          { detachMs: 10_000 },
        )
        const first = await post(producer, 3)
        first.leave()
        await closed.promise
        await vi.advanceTimersByTimeAsync(9_000)
        expect(signal?.aborted).toBe(false)
        await vi.advanceTimersByTimeAsync(2_000)
        expect(signal?.aborted).toBe(true)
        await vi.waitFor(() =>
          expect(producer.ends).toMatchObject([{ outcome: 'client_gone', detached: true, recorded: true }]),
        )
      } finally {
        vi.useRealTimers()
      }
    })

    test('detachMs 0 aborts it at once', async () => {
      const { produce } = paced(chatEvents(20), 6)
      const { producer } = await start(produce, { detachMs: 0 })
      const first = await post(producer, 3)
      first.leave()
      await expect.poll(() => producer.ends).toMatchObject([{ outcome: 'client_gone', detached: false }])
    })

    test('without a reader, the upstream is not read without end', async () => {
      const { producer, reader } = await start(
        async ({ writer, signal }) => {
          for (let number = 0; !signal.aborted; number++) {
            await writer.write(`${number} ${'x'.repeat(1_000)}`)
            await new Promise((resolve) => setImmediate(resolve))
          }
        },
        { maxBytes: 64 * 1024 },
      )
      const first = await post(producer, 3)
      first.leave()
      await expect
        .poll(() => producer.ends, { timeout: 10_000 })
        .toMatchObject([{ outcome: 'client_gone', detached: true }])
      expect(producer.ends[0]?.reason?.code).toBe('resume_full')
      const { first: kept = 0 } = (await reader.resume.find(idOf(first.response))) ?? {}
      const body = await (await rejoin(reader, idOf(first.response), `?after=${kept}`)).text()
      expect(failureOf(eventsIn(body).filter((data) => data.startsWith('{')))).toMatchObject({
        code: 'resume_full',
      })
    })

    test('a stop from another process ends it for every reader', async () => {
      const { produce } = paced(chatEvents(20), 6)
      const signals: AbortSignal[] = []
      const { producer, reader } = await start((stream) => {
        signals.push(stream.signal)
        return produce(stream)
      })
      const first = fetch(producer.url + chat, { method: 'POST', headers: user })
      const id = idOf(await first)
      await recorded(reader, id, 6)
      const beside = rejoin(reader, id)
      await beside
      expect((await stop(reader, id)).status).toBe(204)
      for (const response of [await first, await beside]) {
        expect(failureOf(eventsIn(await response.text())).code).toBe('request_aborted')
      }
      expect(signals[0]?.aborted).toBe(true)
      await expect.poll(() => producer.ends).toMatchObject([{ outcome: 'aborted' }])
      // Twice does no harm.
      expect((await stop(reader, id)).status).toBe(204)
      expect((await stop(producer, id)).status).toBe(204)
    })

    test('a stop that comes before the first event', async () => {
      const { produce } = paced(chatEvents(20), 0)
      const { producer, reader } = await start(produce, { streamId: () => 'chosen-1' })
      const first = fetch(producer.url + chat, { method: 'POST', headers: user })
      await expect.poll(() => reader.resume.find('chosen-1')).toBeDefined()
      expect((await stop(reader, 'chosen-1')).status).toBe(204)
      const response = await first
      expect(response.status).toBe(499)
      expect(await response.json()).toMatchObject({ error: { code: 'request_aborted' } })
    })

    test('an id that the app has chosen is taken while its stream is being produced', async () => {
      const events = chatEvents(10)
      const { produce, letOn } = paced(events, 4)
      const { producer } = await start(produce, { streamId: () => 'chosen-2' })
      const first = await post(producer, 2)
      const second = await post(producer, Number.POSITIVE_INFINITY)
      expect(second.response.status).toBe(409)
      expect(await second.response.headers.get('x-should-retry')).toBe('false')
      letOn()
      await expect.poll(async () => (await producer.resume.find('chosen-2'))?.end?.outcome).toBe('completed')
      const third = await post(producer, 10)
      expect(third.events).toEqual(events)
      first.leave()
    })

    test('events that are gone are reported: before the headers by status, after them by an error event', async () => {
      const events = chatEvents(300)
      const { produce, letOn } = paced(events, 200)
      const { producer, reader } = await start(produce, { maxEvents: 20 })
      const first = await post(producer, 150)
      const id = idOf(first.response)
      await recorded(reader, id, 200)
      const gap = await rejoin(reader, id, '?after=10')
      expect(gap.status).toBe(410)
      const { error, first: kept } = (await gap.json()) as { error: { code: string }; first: number }
      expect(error.code).toBe('resume_gap')
      expect(gap.headers.get('unhang-first')).toBe(String(kept))
      const accepted = rejoin(reader, id, '?after=10&gap=accept')
      expect((await accepted).headers.get('unhang-first')).toBe(String(kept))
      const exact = rejoin(reader, id, `?after=${kept - 1}`)
      await exact
      letOn()
      const rest = eventsIn(await (await accepted).text())
      expect(rest).toEqual(events.slice(kept - 1))
      expect(eventsIn(await (await exact).text())).toEqual(rest)
    })

    test('a slow reader of a fast stream costs no more than is kept, and hears what it has missed', async () => {
      const piece = 'x'.repeat(10_000)
      const filled = withResolvers()
      let id = ''
      const { producer, reader } = await start(
        async ({ writer }) => {
          for (let number = 1; number <= 3; number++) await writer.write(`${number} ${piece}`)
          await filled.promise
          for (let number = 4; number <= 2_000; number++) {
            await writer.write(`${number} ${piece}`)
            // A store that cannot keep up gives up: what is not recorded is no matter of this test.
            if (number % 50 === 0) await recorded(producer, id, number, 15_000)
          }
        },
        { maxBytes: 256 * 1024, maxEvents: 1e6 },
      )
      const first = await fetch(producer.url + chat, { method: 'POST', headers: user })
      id = idOf(first)
      const socket = connect(reader.port, '127.0.0.1')
      closing.push(() => socket.destroy())
      socket.write(`GET /v1/streams/${id} HTTP/1.1\r\nHost: test\r\nX-User: ada\r\nConnection: close\r\n\r\n`)
      await once(socket, 'readable')
      filled.resolve()
      const [all] = await Promise.all([first.text(), recorded(reader, id, 2_000, 15_000)])
      expect(eventsIn(all)).toHaveLength(2_000)
      let body = ''
      for await (const chunk of socket) body += chunk
      expect(body).toContain('"code":"resume_gap"')
      expect(body).not.toContain('2000 x')
      expect(reader.ends).toMatchObject([{ outcome: 'aborted' }])
    })

    describe('the owner', () => {
      const everything = async (response: Response) => ({
        status: response.status,
        headers: [...response.headers].filter(([name]) => name !== 'date'),
        body: await response.text(),
      })

      test('another owner gets the response for a stream that is not there, to the letter', async () => {
        const { produce } = paced(chatEvents(10), 5)
        const { producer, reader } = await start(produce)
        const { response, leave } = await post(producer, 5)
        const id = idOf(response)
        await recorded(reader, id, 5)
        const other = 'A'.repeat(id.length)
        for (const headers of [{ 'x-user': 'bob' }, { 'x-user': '' }, {}] as Record<string, string>[]) {
          for (const query of ['', '?after=2', '?after=-1', '?after=1e9', '?starting_after=99999']) {
            const unknown = await everything(await rejoin(reader, other, query, headers))
            expect(unknown.status).toBe(404)
            expect(await everything(await rejoin(reader, id, query, headers))).toEqual(unknown)
          }
          const unknown = await everything(await stop(reader, other, headers))
          expect(unknown.status).toBe(404)
          expect(await everything(await stop(reader, id, headers))).toEqual(unknown)
        }
        // Its owner still has it, and it still runs.
        expect((await rejoin(reader, other)).status).toBe(404)
        expect(await reader.resume.find(id)).toMatchObject({ end: undefined })
        leave()
      })

      test.each([undefined, ''])('a stream whose owner is %j is served, and not recorded', async (owner) => {
        const events = chatEvents(5)
        const { producer } = await start(paced(events).produce, { owner: () => owner })
        const { response, events: got } = await post(producer, 5)
        expect(got).toEqual(events)
        expect(response.headers.has('unhang-stream')).toBe(false)
        await expect.poll(() => producer.ends).toMatchObject([{ streamId: undefined, recorded: false }])
      })

      test('owner: false lets every client that knows the id read', async () => {
        const events = chatEvents(5)
        const { producer, reader } = await start(paced(events).produce, { owner: false })
        const { response } = await post(producer, 5, {})
        const again = await rejoin(reader, idOf(response), '', {})
        expect(eventsIn(await again.text())).toEqual(events)
      })

      test.each([
        ['?after=-1', 400],
        ['?after=1e9', 400],
        ['?after=Infinity', 400],
        ['?after=1.5', 400],
        ['?after=', 400],
        [`?after=${'9'.repeat(400)}`, 400],
        ['?after=1&after=2', 400],
        ['?starting_after=x', 400],
        ['?after=999999999999999', 400],
        ['?after=%31', 200],
        ['?after=3', 200],
        ['?starting_after=2', 200],
      ])('a cursor %s', async (query, status) => {
        const { producer, reader } = await start(paced(chatEvents(5)).produce)
        const { response } = await post(producer, 5)
        await expect.poll(async () => (await reader.resume.find(idOf(response)))?.end).toBeDefined()
        expect((await rejoin(reader, idOf(response), query)).status).toBe(status)
      })

      test.each(['x', '-1', '1e3', '9'.repeat(16)])('a Last-Event-ID %s', async (lastId) => {
        const { producer, reader } = await start(paced(chatEvents(5)).produce)
        const { response } = await post(producer, 5)
        const headers = { ...user, 'last-event-id': lastId }
        expect((await rejoin(reader, idOf(response), '', headers)).status).toBe(400)
      })
    })

    test('a server that drains lets its readers go at once, and says so in the end of what it produces', async () => {
      const { produce } = paced(chatEvents(20), 6)
      const { producer, reader } = await start(produce)
      const first = await fetch(producer.url + chat, { method: 'POST', headers: user })
      const id = idOf(first)
      await recorded(reader, id, 6)
      const reading = await rejoin(reader, id)
      const drained = await drainStreams(reader.server, { graceMs: 60_000 })
      expect(drained).toMatchObject({ reported: 1, forced: 0 })
      expect(failureOf(eventsIn(await reading.text())).code).toBe('server_shutting_down')
      // The stream goes on meanwhile.
      if (!mount.drains) return
      const again = await rejoin(producer, id)
      await drainStreams(producer.server, { graceMs: 1 })
      for (const response of [first, again]) {
        expect(failureOf(eventsIn(await response.text())).code).toBe('server_shutting_down')
      }
      expect(producer.ends.at(-1)?.outcome).toBe('shutdown')
    })

    test('the text is the same to the letter, whichever characters it is of', async () => {
      const events = ['né', '😀 \u2028 x', '"\\ud83d"', '日本語'.repeat(50)]
      const { producer, reader } = await start(paced(events).produce)
      const { response, events: got } = await post(producer, 4)
      expect(got).toEqual(events)
      for (const after of [0, 1, 2, 3]) {
        const again = await rejoin(reader, idOf(response), `?after=${after}`)
        expect(eventsIn(await again.text())).toEqual(events.slice(after))
      }
    })
  })
}
