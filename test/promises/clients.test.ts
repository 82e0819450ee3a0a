import { readFile, writeFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { type dialects, handleStream, type SSEWriter } from '../../src/index.js'
import { type DialectAnswer, dialectAnswers } from '../support/dialect-answers.js'
import { listen, upstreamClients } from '../support/proxy.js'
import { realClients } from '../support/real-clients.js'
import { type Script, startUpstream } from '../support/scripted-upstream.js'

/** What a client's user sees of an upstream that does what the script says. */
async function ask(
  name: string,
  script: (exchange: Parameters<Script>[0], heartbeatsSent: (least: number) => Promise<void>) => unknown,
) {
  const client = realClients[name]
  if (!client) throw new Error(`no client ${name}`)
  const dialect = client.dialect as keyof typeof dialects
  let writer: SSEWriter | undefined
  const heartbeatsSent = async (least: number) => {
    while ((writer?.heartbeats ?? 0) < least) await new Promise((resolve) => setTimeout(resolve, 5))
  }
  await using upstream = await startUpstream((exchange) => script(exchange, heartbeatsSent))
  await using proxy = await listen((_request, response) => {
    void handleStream(
      response,
      (stream) => {
        writer = stream.writer
        return stream.relay(upstreamClients.http(upstream.url, stream))
      },
      { dialect, writer: { heartbeatMs: 10 } },
    )
  })
  let text = ''
  let error: (Error & { status?: number; statusCode?: number }) | undefined
  await client
    .stream(proxy.url, (piece) => {
      text += piece
    })
    .catch((thrown) => {
      error = thrown
    })
  const heartbeats = writer?.heartbeats ?? 0
  return { text, error, heartbeats }
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
  const [line = ''] = error.message.replace(/,"request_id":"[^"]*"/, '').split('\n')
  const kind = error.constructor.name === 'Object' ? '' : `${error.constructor.name}: `
  return `\`${kind}${line}\``
}

/** An EventSource tells its page no more of a failed request than the status, and of a cut nothing at all. */
const tellsLess = ['eventsource', 'eventsource-client']

describe.each(Object.entries(realClients))('%s', (name, { dialect }) => {
  const { begun, rest } = dialectAnswers[dialect] as DialectAnswer
  const row: Row = { client: name, dialect }
  rows.push(row)

  const afterTheText = (end: (exchange: Parameters<Script>[0]) => void): Script => {
    return (exchange) => {
      exchange.open()
      for (const event of begun) exchange.chunk(event)
      end(exchange)
    }
  }

  test('a good stream, heartbeats included: the whole text, no error', async () => {
    const { text, error, heartbeats } = await ask(name, async (exchange, heartbeatsSent) => {
      exchange.open()
      for (const event of begun) exchange.chunk(event)
      await heartbeatsSent(2)
      for (const event of rest) exchange.chunk(event)
      exchange.end()
    })
    expect(error).toBeUndefined()
    expect(text).toBe('Hello')
    expect(heartbeats).toBeGreaterThan(0)
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
      if (dialect !== 'aiSdkUi') expect(error?.status ?? error?.statusCode).toBe(status)
    },
  )

  test('mid-stream: the text so far, then our message', async () => {
    const { text, error } = await ask(
      name,
      afterTheText((exchange) => exchange.fin()),
    )
    row['mid-stream'] = shown(error)
    expect(text).toBe('Hel')
    expect(error?.message).toContain('The upstream closed the connection before the answer was complete.')
  })

  test('a truncation is an error, too', async () => {
    const { text, error } = await ask(
      name,
      afterTheText((exchange) => exchange.end()),
    )
    row.truncation = shown(error)
    expect(text).toBe('Hel')
    expect(error).toBeDefined()
    if (!tellsLess.includes(name)) {
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
