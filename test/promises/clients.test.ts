import { readFile, writeFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import {
  channels,
  type DialectName,
  handleStream,
  type SSEWriter,
  type StreamContext,
  type StreamEnd,
  type StreamTimeouts,
} from '../../src/index.js'
import { type DialectAnswer, dialectAnswers } from '../support/dialect-answers.js'
import { guarded } from '../support/guarded.js'
import { listen, type TestServer, upstreamClients } from '../support/proxy.js'
import { realClients } from '../support/real-clients.js'
import { type Script, startUpstream } from '../support/scripted-upstream.js'

type Exchange = Parameters<Script>[0]
type ClientScript = (exchange: Exchange, heartbeatsSent: (least: number) => Promise<void>) => unknown

/** Only the app's own option names this dialect. */
const chosen = ['aiSdkUi']
/** Between two events of these no heartbeat is sent, or only one that the app asks for. */
const takesNoComments = ['gemini', 'ollama']

/** A proxy in front of this upstream, and how many heartbeats its client was sent. */
interface Proxy {
  listening(upstream: string, dialect: string): Promise<TestServer>
  heartbeats(): number
}

interface RouteOptions {
  headersAfterMs?: number
  timeouts?: StreamTimeouts
}

function route({ headersAfterMs = 10_000, timeouts }: RouteOptions = {}): Proxy {
  let writer: SSEWriter | undefined
  return {
    listening: (upstream, name) =>
      listen((_request, response) => {
        const dialect = chosen.includes(name) ? (name as DialectName) : undefined
        const heartbeat = name === 'gemini' ? ('empty-delta' as const) : undefined
        void handleStream(
          response,
          (stream) => {
            writer = stream.writer
            return stream.relay(upstreamClients.http(upstream, stream))
          },
          { dialect, timeouts, writer: { heartbeatMs: 10, headersAfterMs, heartbeat } },
        )
      }),
    heartbeats: () => writer?.heartbeats ?? 0,
  }
}

/** Nothing is set but the clock. */
function byDefault(): Proxy {
  return {
    listening: (upstream, name) =>
      listen((_request, response) => {
        const dialect = chosen.includes(name) ? (name as DialectName) : undefined
        const writer = { headersAfterMs: 100, heartbeatMs: 150 }
        const handler = (stream: StreamContext) => stream.relay(upstreamClients.http(upstream, stream))
        void handleStream(response, handler, { dialect, writer })
      }),
    heartbeats: () => 0,
  }
}

/** A handler that pipes by hand, as it would without unhang. */
function guard({ timeouts }: { timeouts?: StreamTimeouts } = {}): Proxy {
  let heartbeats = 0
  return {
    async listening(upstream, name) {
      const heartbeat = name === 'gemini' ? ('empty-delta' as const) : undefined
      const server = await guarded(
        async (request, response) => {
          const answer = await fetch(upstream + request.url, { method: 'POST' })
          response.statusCode = answer.status
          response.setHeader('content-type', String(answer.headers.get('content-type')))
          if (name === 'aiSdkUi') response.setHeader('x-vercel-ai-ui-message-stream', 'v1')
          response.flushHeaders()
          for await (const chunk of answer.body ?? []) response.write(chunk)
          response.end()
        },
        { timeouts, writer: { heartbeatMs: 10, heartbeat } },
      )
      const count = (record: unknown) => {
        heartbeats += (record as StreamEnd).heartbeats
      }
      channels.end.subscribe(count)
      return {
        ...server,
        async [Symbol.asyncDispose]() {
          await server[Symbol.asyncDispose]()
          channels.end.unsubscribe(count)
        },
      }
    },
    heartbeats: () => heartbeats,
  }
}

/** The error that a client's user sees of an upstream that follows the script. */
async function ask(name: string, script: ClientScript, proxy: Proxy = route()) {
  const client = realClients[name]
  if (!client) throw new Error(`no client ${name}`)
  const heartbeatsSent = async (least: number) => {
    while (proxy.heartbeats() < least) await new Promise((resolve) => setTimeout(resolve, 5))
  }
  await using upstream = await startUpstream((exchange) => script(exchange, heartbeatsSent))
  await using server = await proxy.listening(upstream.url, client.dialect)
  let text = ''
  let error: (Error & { status?: number; statusCode?: number; status_code?: number }) | undefined
  await client
    .stream(server.url, (piece) => {
      text += piece
    })
    .catch((thrown) => {
      error = thrown
    })
  return { text, error, heartbeats: proxy.heartbeats() }
}

interface Row {
  client: string
  dialect: string
  '429'?: string
  '503'?: string
  'mid-stream'?: string
  truncation?: string
}

const rows: Row[] = []

/** The error as its user finds it in a log; ids are left out, since they are new each time. */
function shown(error: Error | undefined): string {
  if (!error) return 'nothing'
  const text = error.message.replace(/,"request_id":"[^"]*"/, '').replace(/ from http:\S+:/, ':')
  const [line = ''] = text.startsWith('[\n') ? [''] : text.split('\n')
  const kind = error.constructor.name === 'Object' ? '' : `${error.constructor.name}: `
  return `\`${kind}${line}\``
}

/** These fail for our error, but show nothing of it. */
const saysNothing = [
  '@mistralai/mistralai, chat',
  '@google/generative-ai',
  'cohere-ai',
  '@mistralai/mistralai, conversations',
]

/** An EventSource tells its page no more of a failed request than the status, and of a cut nothing at all. */
const tellsLess = ['eventsource', 'eventsource-client']

describe.each(Object.entries(realClients))('%s', (name, { dialect }) => {
  const { begun, rest } = dialectAnswers[dialect] as DialectAnswer
  const row: Row = { client: name, dialect }
  rows.push(row)

  const open = (exchange: Exchange) =>
    exchange.open(`Content-Type: ${dialect === 'ollama' ? 'application/x-ndjson' : 'text/event-stream'}`)
  const afterTheText = (end: (exchange: Exchange) => void): Script => {
    return (exchange) => {
      open(exchange)
      for (const event of begun) exchange.chunk(event)
      end(exchange)
    }
  }

  test('a good stream, heartbeats before, between and after its events: the whole text, no error', async () => {
    const isBeaten = dialect !== 'ollama'
    const script: ClientScript = async (exchange, heartbeatsSent) => {
      if (isBeaten) await heartbeatsSent(1)
      open(exchange)
      for (const [index, event] of [...begun, ...rest].entries()) {
        exchange.chunk(event)
        const isLast = event === rest.at(-1)
        if (isBeaten && !isLast) await heartbeatsSent(3 + 2 * index)
      }
      exchange.end()
    }
    const { text, error, heartbeats } = await ask(name, script, route({ headersAfterMs: 10 }))
    expect(error).toBeUndefined()
    expect(text).toBe('Hello')
    expect(heartbeats > 0).toBe(isBeaten)
  })

  test('a model that thinks, before and in its answer: with the defaults, by a clock a hundred times as fast', async () => {
    const { text, error } = await ask(
      name,
      async (exchange) => {
        await new Promise((resolve) => setTimeout(resolve, 120))
        open(exchange)
        for (const event of begun) exchange.chunk(event)
        await new Promise((resolve) => setTimeout(resolve, 170))
        for (const event of rest) exchange.chunk(event)
        exchange.end()
      },
      byDefault(),
    )
    expect(error).toBeUndefined()
    expect(text).toBe('Hello')
  })

  test('a good stream with silences, piped by hand behind the guard', async () => {
    const { text, error, heartbeats } = await ask(
      name,
      async (exchange) => {
        open(exchange)
        for (const event of [...begun, ...rest]) {
          await new Promise((resolve) => setTimeout(resolve, 30))
          exchange.chunk(event)
        }
        exchange.end()
      },
      guard(),
    )
    expect(error).toBeUndefined()
    expect(text).toBe('Hello')
    if (!takesNoComments.includes(dialect)) expect(heartbeats).toBeGreaterThan(0)
  })

  test.each<[string, (exchange: Exchange) => unknown]>([
    ['a reset', (exchange) => exchange.reset()],
    ['a truncation', (exchange) => exchange.end()],
  ])('%s behind the guard is never taken for complete', async (_what, end) => {
    const { error } = await ask(name, afterTheText(end), guard())
    expect(error).toBeDefined()
  })

  test.each([
    [
      429,
      'status 429',
      (exchange) => exchange.answer('429 Too Many Requests', '{"error":{"message":"slow"}}'),
    ],
    [503, 'closed the connection', (exchange) => exchange.fin()],
  ] as [429 | 503, string, Script][])(
    'before the head: status %i and our message',
    async (status, message, script) => {
      const { text, error } = await ask(name, script)
      row[`${status}`] = shown(error)
      expect(text).toBe('')
      if (name !== 'eventsource') expect(error?.message).toContain(message)
      if (dialect !== 'aiSdkUi') expect(error?.status ?? error?.statusCode ?? error?.status_code).toBe(status)
    },
  )

  test('mid-stream: the text so far, then our message', async () => {
    const { text, error } = await ask(
      name,
      afterTheText((exchange) => exchange.fin()),
    )
    row['mid-stream'] = shown(error)
    expect(text).toBe('Hel')
    expect(error).toBeDefined()
    if (!saysNothing.includes(name))
      expect(error?.message).toContain('The upstream closed the connection before the answer was complete.')
  })

  test.each([
    ['relayed', route],
    ['behind the guard', guard],
  ])('silence becomes an error, and does not last: %s', async (_how, proxy) => {
    const { text, error } = await ask(
      name,
      afterTheText(() => {}),
      proxy({ timeouts: { inactivityMs: 150 } }),
    )
    expect(text).toBe('Hel')
    expect(error).toBeDefined()
    if (!saysNothing.includes(name)) expect(error?.message).toContain('fell silent')
  })

  test('a truncation is an error, too', async () => {
    const { text, error } = await ask(
      name,
      afterTheText((exchange) => exchange.end()),
    )
    row.truncation = shown(error)
    expect(text).toBe('Hel')
    expect(error).toBeDefined()
    if (![...tellsLess, ...saysNothing].includes(name)) {
      expect(error?.message).toContain('The upstream ended the answer before it was complete.')
    }
  })
})

/** A section of docs/CLIENTS.md: the clients for which something is the same stand together. */
function section(title: string, what: string, valueIn: (row: Row) => unknown): string {
  const clients = new Map<unknown, string[]>()
  for (const row of rows) clients.set(valueIn(row), [...(clients.get(valueIn(row)) ?? []), row.client])
  const lines = [...clients].map(([value, names]) => `| ${names.join('<br>')} | ${value} |`)
  return [`## ${title}`, '', `| client | ${what} |`, '| --- | --- |', ...lines].join('\n')
}

test('docs/CLIENTS.md says what each of them shows', async () => {
  const seen = [
    section('The clients', 'dialect', ({ dialect }) => dialect),
    section('The upstream responds with 429', 'what it shows', (row) => row['429']),
    section('It hangs up before its headers', 'what it shows', (row) => row['503']),
    section('It hangs up mid-stream', 'what it shows', (row) => row['mid-stream']),
    section('It stops short', 'what it shows', ({ truncation }) => truncation),
  ].join('\n\n')
  const page = await readFile('docs/CLIENTS.md', 'utf8')
  const written = page.slice(page.indexOf('## The clients'), page.indexOf('\n\n## Good to know'))
  if (process.env.UPDATE_DOCS)
    await writeFile(
      'docs/CLIENTS.md',
      page.replace(written, () => seen),
    )
  else expect(process.env.OPENAI7 ? written : withoutOpenai7(written)).toBe(seen)
})

/** It needs Node 22, and is not always there. */
function withoutOpenai7(page: string): string {
  return page.replaceAll(/(<br>)?openai 7[^<|]*?(?=<br>| \|)/g, '')
}
