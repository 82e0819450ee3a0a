import { DefaultChatTransport, type UIMessageChunk } from 'ai'
import { EventSource } from 'eventsource'
import OpenAI from 'openai'
import { afterEach, describe, expect, test } from 'vitest'
import { createResume } from '../../src/resume/index.js'
import { listen } from '../support/proxy.js'
import { withResolvers } from '../support/with-resolvers.js'
import {
  chatEvents,
  eventsIn,
  type Producing,
  type ResumableServer,
  type ResumeMount,
  readSome,
  routeMount,
  startResumable,
  user,
} from './resumable.js'
import type { StoresUnderTest } from './store-contract.js'

const count = 62

/** The events of a response of the Responses API: numbered from 0, and the last one carries the whole. */
function responseEvents(): { type: string; sequence_number: number; [more: string]: unknown }[] {
  const response = { id: 'resp_1', object: 'response', status: 'in_progress', output: [] }
  const types = [
    { type: 'response.created', response },
    ...Array.from({ length: count - 2 }, (_, at) => ({
      type: 'response.output_text.delta',
      item_id: 'msg_1',
      output_index: 0,
      content_index: 0,
      delta: `${at} `,
    })),
    { type: 'response.completed', response: { ...response, status: 'completed' } },
  ]
  return types.map((event, number) => ({ ...event, sequence_number: number }))
}

/** The clients of others that know how to go on, each with the call it has for that. */
export function resumingClients(
  name: string,
  makeStores: () => Promise<StoresUnderTest>,
  mount: ResumeMount = routeMount,
): void {
  describe(`clients that rejoin a stream of ${mount.name} by their own means, recorded in ${name}`, () => {
    const closing: (() => unknown)[] = []

    afterEach(async () => {
      for (const close of closing.splice(0).reverse()) await close()
    })

    /** The producer stops after half of the events, until it is let on. */
    async function start(events: readonly { event?: string; data: unknown }[]) {
      const gate = withResolvers()
      const stores = await makeStores()
      closing.push(() => stores.close())
      const produce = async ({ writer }: Producing) => {
        for (const [at, event] of events.entries()) {
          if (at === count / 2) await gate.promise
          await writer.write(event)
        }
      }
      const open = async (store: StoresUnderTest['producer']): Promise<ResumableServer> => {
        const server = await startResumable(mount, store, produce)
        closing.push(() => server[Symbol.asyncDispose]())
        return server
      }
      const producer = await open(stores.producer)
      return { stores, producer, reader: await open(stores.reader), letOn: () => gate.resolve() }
    }

    const half = async (server: ResumableServer, id: string) =>
      expect.poll(async () => (await server.resume.find(id))?.last, { timeout: 5_000 }).toBe(count / 2)

    test('openai: responses.retrieve(id, { stream: true, starting_after })', async () => {
      const all = responseEvents()
      const { producer, reader, letOn } = await start(all.map((data) => ({ event: data.type, data })))
      const options = { apiKey: 'test', maxRetries: 0, defaultHeaders: user }
      const client = new OpenAI({ ...options, baseURL: `${producer.url}/v1` })
      const request = { model: 'm', input: 'Hi', stream: true as const }
      const { data: stream, response } = await client.responses.create(request).withResponse()
      const got: unknown[] = []
      let cursor = 0
      for await (const event of stream) {
        got.push(event)
        cursor = event.sequence_number
        // Leaving the loop closes the connection.
        if (cursor === 10) break
      }
      const id = response.headers.get('unhang-stream') as string
      await half(reader, id)
      const elsewhere = new OpenAI({ ...options, baseURL: `${reader.url}/v1` })
      const rest = await elsewhere.responses.retrieve(id, { stream: true, starting_after: cursor })
      letOn()
      for await (const event of rest) got.push(event)
      expect(got).toEqual(all)
      expect(got).toHaveLength(count)
    })

    test("AI SDK: useChat's reconnectToStream has the whole answer, or nothing", async () => {
      const pieces = Array.from({ length: count - 5 }, (_, at) => ({
        type: 'text-delta',
        id: 't',
        delta: `${at} `,
      }))
      const all = [
        { type: 'start', messageId: 'm' },
        { type: 'text-start', id: 't' },
        ...pieces,
        { type: 'text-end', id: 't' },
        { type: 'finish' },
      ]
      const events = [...all.map((data) => ({ data })), { data: '[DONE]' }]
      const { stores, producer, reader, letOn } = await start(events)
      const active = new Map<string, string>()
      // The page is loaded again while the answer is being written, and asks another process.
      const { response, leave } = await readSome(
        `${producer.url}/api/chat`,
        { method: 'POST', headers: user },
        10,
      )
      active.set('chat-1', response.headers.get('unhang-stream') as string)
      leave()
      const resume = createResume<never>({ store: stores.reader, owner: mount.owner })
      const rejoin = resume.rejoin({
        streamId: ({ url = '' }: { url?: string }) => active.get(url.split('/').at(-2) ?? ''),
        dialect: 'aiSdkUi',
      })
      const page = await listen(mount.listener(rejoin))
      closing.push(() => page[Symbol.asyncDispose]())
      const transport = new DefaultChatTransport({ api: `${page.url}/api/chat`, headers: user })
      expect(await transport.reconnectToStream({ chatId: 'chat-2' })).toBeNull()
      await half(reader, active.get('chat-1') as string)
      const stream = await transport.reconnectToStream({ chatId: 'chat-1' })
      letOn()
      const got: UIMessageChunk[] = []
      for await (const chunk of stream as unknown as AsyncIterable<UIMessageChunk>) got.push(chunk)
      expect(got).toEqual(all)
    })

    test('EventSource: cut by the server again and again, it goes on by Last-Event-ID', async () => {
      const all = chatEvents(count)
      const { producer, stores, letOn } = await start(all.map((data) => ({ data })))
      const { response, leave } = await readSome(
        `${producer.url}/v1/chat`,
        { method: 'POST', headers: user },
        5,
      )
      const id = response.headers.get('unhang-stream') as string
      leave()
      const resume = createResume<never>({ store: stores.reader, owner: mount.owner })
      const rejoin = mount.listener(resume.rejoin())
      let connections = 0
      const cutting = await listen((request, answer) => {
        connections++
        let sent = 0
        const { write } = answer
        // After fifteen events the connection breaks.
        answer.write = ((chunk: Uint8Array | string) => {
          const text = chunk.toString()
          const blocks = text.split(/(?<=\n\n)/)
          // Not the three seconds that it would wait.
          const retry = sent === 0 ? 'retry: 10\n' : ''
          const room = retry + blocks.slice(0, 15 - sent).join('')
          sent += blocks.length
          const more = write.call(answer, room, 'utf8')
          if (sent >= 15) setImmediate(() => answer.destroy())
          return more
        }) as typeof answer.write
        rejoin(request, answer)
      })
      closing.push(() => cutting[Symbol.asyncDispose]())
      letOn()
      await expect.poll(async () => (await stores.reader.find(id))?.end?.outcome).toBe('completed')
      const got: string[] = []
      const done = withResolvers()
      const source = new EventSource(`${cutting.url}/v1/streams/${id}`, {
        fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, ...user } }),
      })
      closing.push(() => source.close())
      source.onmessage = ({ data, lastEventId }) => {
        got.push(data)
        expect(lastEventId).toBe(String(got.length))
        if (got.length === count) done.resolve()
      }
      await done.promise
      // The one that says that there is nothing more.
      await expect.poll(() => source.readyState, { timeout: 5_000 }).toBe(source.CLOSED)
      expect(got).toEqual(all)
      expect(connections).toBeGreaterThanOrEqual(5)
    })

    test('fetch: a client that counts', async () => {
      const all = chatEvents(count)
      const { producer, reader, letOn } = await start(all.map((data) => ({ data })))
      const first = await readSome(
        `${producer.url}/v1/chat/completions`,
        { method: 'POST', headers: user },
        10,
      )
      const id = first.response.headers.get('unhang-stream') as string
      first.leave()
      const got = [...first.events]
      while (got.at(-1) !== '[DONE]') {
        if (got.length + 7 > count / 2) letOn()
        const url = `${reader.url}/v1/streams/${id}?after=${got.length}`
        const part = await readSome(url, { headers: user }, 7)
        if (part.events.length === 0) throw new Error(part.body)
        part.leave()
        got.push(...part.events)
      }
      expect(got).toEqual(all)
      const again = await fetch(`${reader.url}/v1/streams/${id}`, { headers: user })
      expect(eventsIn(await again.text())).toEqual(all)
    })
  })
}
