import type { ServerResponse } from 'node:http'
import { describe, expect, test } from 'vitest'
import { type GuardOptions, handleStream } from '../../src/index.js'
import { chatAnswer, chatChunk } from '../support/chat.js'
import { guarded } from '../support/guarded.js'
import { listen } from '../support/proxy.js'
import { type RawClient, rawRequest } from '../support/raw-client.js'
import { eventStream, wire } from '../support/wire.js'

type Choice = NonNullable<GuardOptions['writer']>['heartbeat']

interface Asked {
  path?: string
  headers?: Record<string, string>
  heartbeat?: Choice
  /** The rest after the silence. */
  later?: Promise<string>
}

/** The bytes that a client has read when heartbeats have come after these events. */
type Ask = (events: string, until: (client: RawClient) => boolean, asked: Asked) => Promise<string>

const heartbeatMs = 20

/** A handler that writes its events and falls silent; both mounts write the same bytes. */
const mounts: Record<string, Ask> = {
  async guard(events, until, { path = '/events', headers = {}, heartbeat, later }) {
    await using server = await guarded(
      async (_request, response) => {
        response.writeHead(200, eventStream).write(events)
        if (later) response.write(await later)
      },
      { writer: { heartbeatMs, heartbeat } },
    )
    using client = rawRequest({ port: server.port, path, headers, body: { stream: true } })
    await client.until(() => until(client))
    return client.bodyText
  },
  async 'streaming route'(events, until, { path = '/events', headers = {}, heartbeat, later }) {
    let open: ServerResponse | undefined
    await using server = await listen((_request, response) => {
      open = response
      const writer = { heartbeatMs, headersAfterMs: heartbeatMs, heartbeat }
      void handleStream(response, ({ relay, signal }) => relay(endless(events, signal, later)), { writer })
    })
    using client = rawRequest({ port: server.port, path, headers, body: { stream: true } })
    await client.until(() => until(client))
    open?.destroy()
    return client.bodyText
  },
}

async function* endless(events: string, signal: AbortSignal, later?: Promise<string>) {
  if (events !== '') yield Buffer.from(events)
  if (later) yield Buffer.from(await later)
  await new Promise((resolve) => signal.addEventListener('abort', resolve))
}

const parserAccept = { accept: 'text/event-stream' }
const begun = { type: 'message_start', message: { id: 'msg_1' } }
const named = `event: message_start\ndata: ${JSON.stringify(begun)}\n\n`
const candidate = { candidates: [{ content: { parts: [{ text: 'Hi' }] } }] }
const emptyChunk = {
  ...chatChunk(''),
  choices: [{ index: 0, delta: { content: '' }, finish_reason: null }],
}

describe.each(Object.entries(mounts))('%s', (_name, ask) => {
  const ends = (text: string) => (client: RawClient) => client.bodyText.endsWith(text)

  test.each<[string, string, string, Asked]>([
    [
      'a client with a parser of the format gets a comment line',
      wire('Hi'),
      ':\n',
      { headers: parserAccept },
    ],
    ['who asks for anything else gets a blank line after it', wire('Hi'), ':\n\n', {}],
    ['… also by */*', wire('Hi'), ':\n\n', { headers: { accept: '*/*' } }],
    ['… but not once an event had an id', `id: 7\n${wire('Hi')}`, ':\n', {}],
    ['… and not openai-go', wire('Hi'), ':\n', { headers: { 'user-agent': 'OpenAI/Go 3.1.0' } }],
    ['a chat gets an empty chunk of its own', wire(chatChunk('Hi')), wire(emptyChunk), {}],
    [
      '… with any Accept of its client',
      wire(chatChunk('Hi')),
      wire(emptyChunk),
      { headers: parserAccept, path: '/v1/chat/completions' },
    ],
    [
      '… with the id of the first chunk that has one, as Azure’s first has none',
      wire({ id: '', object: '', model: '', choices: [] }, chatChunk('Hi')),
      wire(emptyChunk),
      { path: '/v1/chat/completions' },
    ],
    [
      'a chat whose client counts chunks gets a comment',
      wire(chatChunk('Hi')),
      ':\n\n',
      { heartbeat: 'comment' },
    ],
    [
      'a completion gets an empty text',
      wire({
        id: 'cmpl-1',
        object: 'text_completion',
        created: 1,
        model: 'm',
        choices: [{ index: 0, text: 'Hi' }],
      }),
      wire({
        id: 'cmpl-1',
        object: 'text_completion',
        created: 1,
        model: 'm',
        choices: [{ index: 0, text: '', finish_reason: null }],
      }),
      {},
    ],
    ['Anthropic’s clients get the ping of their API', named, 'event: ping\ndata: {"type":"ping"}\n\n', {}],
    [
      'a stream of the app’s own under the path of a chat gets a comment',
      wire({ id: 'x' }),
      ':\n\n',
      { path: '/v1/chat/completions' },
    ],
    [
      'Gemini’s clients get an empty chunk on demand',
      wire(candidate),
      wire({ candidates: [] }),
      { path: '/v1beta/models/x:streamGenerateContent', heartbeat: 'empty-delta' },
    ],
  ])('%s', async (_what, events, heartbeat, asked) => {
    const text = await ask(events, ends(heartbeat + heartbeat), asked)
    expect(text.slice(events.length, events.length + heartbeat.length)).toBe(heartbeat)
    expect(text.slice(events.length).replaceAll(heartbeat, '')).toBe('')
  })

  test.each(['/v1beta/models/x:streamGenerateContent', '/proxied'])(
    'Gemini’s clients get no heartbeat by default: %s',
    async (path) => {
      const others = ask(wire('Hi'), ends(':\n\n:\n\n:\n\n'), {})
      const later = others.then(() => wire(candidate))
      expect(await ask(wire(candidate), ends(wire(candidate, candidate)), { path, later })).toBe(
        wire(candidate, candidate),
      )
    },
  )
})

test('nor do they get a head before the first event: a late failure has its status', async () => {
  const others = mounts['streaming route']?.('', (client) => client.bodyText.endsWith(':\n\n:\n\n'), {})
  await using server = await listen((_request, response) => {
    const handler = async () => {
      await others
      throw Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' })
    }
    void handleStream(response, handler, { writer: { heartbeatMs, headersAfterMs: heartbeatMs } })
  })
  using client = await rawRequest({
    port: server.port,
    path: '/v1beta/models/x:streamGenerateContent',
    body: {},
  }).finished()
  expect(client.status).toBe(503)
})

test('a finished chat gets no chunk more', async () => {
  const events = wire(...chatAnswer('Hi').slice(0, -1))
  await using server = await guarded(
    (_request, response) => void response.writeHead(200, eventStream).write(events),
    { writer: { heartbeatMs } },
  )
  using client = rawRequest({ port: server.port, body: { stream: true } })
  await client.until(() => client.bodyText.endsWith(':\n\n'))
  expect(client.bodyText.startsWith(`${events}:\n\n`)).toBe(true)
})
