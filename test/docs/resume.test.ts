import { AbstractChat, type ChatState, type ChatTransport, DefaultChatTransport, type UIMessage } from 'ai'
import { EventSource } from 'eventsource'
import type { Response as Answer, Application, Request } from 'express'
import OpenAI from 'openai'
import { afterEach, describe, expect, test } from 'vitest'
import { guardStreams } from '../../src/adapters/express.js'
import { createResume, type Resume } from '../../src/resume/index.js'
import { chatEvents, eventsIn } from '../resume/resumable.js'
import { expressVersions } from '../support/express-versions.js'
import { snippets } from '../support/guide-programs.js'
import { listen } from '../support/proxy.js'
import { eventStream } from '../support/wire.js'
import { withResolvers } from '../support/with-resolvers.js'

// Who copies the set-up and a client of docs/RESUME.md gets a stream that goes on.

const page = 'docs/RESUME.md'
const [setUp = '', , , toRejoinChat = ''] = await snippets(page, 'ts')
const [ofFetch = '', ofEventSource = '', ofOpenAI = '', ofUseChat = ''] = await snippets(page, 'js')

const AsyncFunction = (async () => {}).constructor as FunctionConstructor

/** Runs a snippet with what it takes for granted. @returns what `value` is then */
function run(code: string, given: Record<string, unknown>, value = 'undefined'): unknown {
  const body = `${code.replace(/^import .*$/gm, '')}\nreturn ${value}`
  return new AsyncFunction(...Object.keys(given), body)(...Object.values(given))
}

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

const userId = 'ada'

/** The server of the page; each stream is cut after five events, when its client has read them. */
async function start(events: readonly string[]) {
  const hasFive = withResolvers()
  const [[, express] = []] = expressVersions
  const app = (express as () => Application)()
  const resume = (await run(setUp, { app, guardStreams, createResume }, 'resume')) as ReturnType<
    typeof createResume
  >
  app.get('/v1/responses/:id', resume.rejoin())
  app.post(['/chat', '/v1/responses'], async (request: Request, response: Answer) => {
    response.writeHead(200, eventStream)
    for (const [at, data] of events.entries()) {
      if (at === 5) {
        await hasFive.promise
        request.socket.destroy()
      }
      response.write(`data: ${data}\n\n`)
    }
    response.end()
  })
  const server = await listen(app)
  closing.push(() => server[Symbol.asyncDispose]())
  const fetchHere = (path: string, init: RequestInit) => fetch(new URL(path, server.url), init)
  return { url: server.url, fetchHere, hasFive: () => hasFive.resolve() }
}

async function* eventsOf(response: Response): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let [body, had] = ['', 0]
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    body += decoder.decode(chunk, { stream: true })
    const events = eventsIn(body)
    for (; had < events.length; had++) yield events[had] as string
  }
}

/** A chat without a page: `useChat` of React resumes it in the same way when it is mounted. */
class ChatHere extends AbstractChat<UIMessage> {
  constructor({ id, transport }: { id: string; transport: ChatTransport<UIMessage> }) {
    const messages: UIMessage[] = []
    const state: ChatState<UIMessage> = {
      status: 'ready',
      error: undefined,
      messages,
      pushMessage: (message) => void messages.push(message),
      popMessage: () => void messages.pop(),
      replaceMessage(at, message) {
        messages[at] = message
      },
      snapshot: structuredClone,
    }
    super({ id, transport, state })
  }
}

type Chat = (url: string, init: RequestInit) => AsyncIterable<string>

describe(page, () => {
  test('fetch', async () => {
    const events = chatEvents(12)
    const server = await start(events)
    // The network is down when the client asks again for the first time.
    let calls = 0
    const fetchLater: typeof server.fetchHere = (path, init) =>
      ++calls === 2 ? Promise.reject(new TypeError('fetch failed')) : server.fetchHere(path, init)
    const given = { fetch: fetchLater, userId, eventsOf, setTimeout: setImmediate }
    const chat = (await run(ofFetch, given, 'chat')) as Chat
    const got: string[] = []
    for await (const event of chat('/chat', { method: 'POST', body: '{}' })) {
      got.push(event)
      if (got.length === 5) server.hasFive()
    }
    expect(got).toEqual(events)
    expect(calls).toBe(3)
  })

  test('EventSource', async () => {
    const events = chatEvents(12)
    const server = await start(events)
    const headers = { 'x-user-id': userId }
    const response = await server.fetchHere('/chat', { method: 'POST', headers })
    server.hasFive()
    await response.text().catch(() => {})
    const got: string[] = []
    const done = withResolvers()
    class EventSourceHere extends EventSource {
      constructor(path: string, init: object) {
        super(new URL(path, server.url), init)
        closing.push(() => this.close())
      }
    }
    const show = (data: string) => {
      got.push(data)
      if (got.length === events.length) done.resolve()
    }
    const id = response.headers.get('unhang-stream')
    await run(ofEventSource, { EventSource: EventSourceHere, fetch, userId, id, show })
    await done.promise
    expect(got).toEqual(events)
  })

  test('OpenAI SDK', async () => {
    const whole = { id: 'resp_1', object: 'response', output: [] }
    const delta = { type: 'response.output_text.delta', item_id: 'm', output_index: 0, content_index: 0 }
    const events = [
      { type: 'response.created', response: { ...whole, status: 'in_progress' } },
      ...Array.from({ length: 10 }, (_, at) => ({ ...delta, delta: `${at} ` })),
      { type: 'response.completed', response: { ...whole, status: 'completed' } },
    ].map((event, number) => ({ ...event, sequence_number: number }))
    const server = await start(events.map((event) => JSON.stringify(event)))
    const got: unknown[] = []
    const show = (event: unknown) => {
      got.push(event)
      if (got.length === 5) server.hasFive()
      return event
    }
    const given = { baseURL: `${server.url}/v1`, apiKey: 'test', model: 'm', input: 'Hi' }
    await run(ofOpenAI, { OpenAI, userId, show, ...given })
    expect(got).toEqual(events)
  })

  test('AI SDK, useChat', async () => {
    const [[, express] = []] = expressVersions
    const app = (express as () => Application)()
    const given = { app, createResume }
    const { resume, active } = (await run(toRejoinChat, given, '{ resume, active }')) as {
      resume: Resume
      active: Map<string, string>
    }
    app.use('/api/chat', guardStreams({ resume }))
    const pieces = ['Hel', 'lo'].map((delta) => ({ type: 'text-delta', id: '1', delta }))
    const [start, ...rest] = [
      ...[{ type: 'start' }, { type: 'text-start', id: '1' }, ...pieces],
      ...[{ type: 'text-end', id: '1' }, { type: 'finish' }],
    ].map((part) => `data: ${JSON.stringify(part)}\n\n`)
    const rejoined = withResolvers()
    app.post('/api/chat', async (_request: Request, response: Answer) => {
      response.writeHead(200, eventStream).write(start)
      await rejoined.promise
      response.end(`${rest.join('')}data: [DONE]\n\n`)
    })
    const server = await listen(app)
    closing.push(() => server[Symbol.asyncDispose]())
    const first = await fetch(`${server.url}/api/chat`, {
      method: 'POST',
      headers: { 'x-user-id': userId },
    })
    active.set('chat-1', first.headers.get('unhang-stream') as string)
    await first.body?.cancel()
    class TransportHere extends DefaultChatTransport<UIMessage> {
      constructor({ api, headers }: { api: string; headers: Record<string, string> }) {
        super({ api: server.url + api, headers })
      }
    }
    const resumed = withResolvers<readonly UIMessage[]>()
    const useChat = ({
      resume: isResumed,
      ...options
    }: ConstructorParameters<typeof ChatHere>[0] & { resume: boolean }) => {
      const chat = new ChatHere(options)
      const resuming = isResumed ? chat.resumeStream() : undefined
      resuming?.then(() => resumed.resolve(chat.messages), resumed.reject)
      return chat
    }
    await run(ofUseChat, { DefaultChatTransport: TransportHere, useChat, userId, chatId: 'chat-1' })
    rejoined.resolve()
    expect(await resumed.promise).toMatchObject([
      { role: 'assistant', parts: [{ type: 'text', text: 'Hello', state: 'done' }] },
    ])
  })
})
