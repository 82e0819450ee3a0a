import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { startUpstream, type UpstreamScript } from '../../src/testing/index.js'
import { within } from '../../src/timeouts/clock.js'
import { chatAnswer, chatChunk, failureOf, textOf } from '../support/chat.js'
import { startExample } from '../support/example-server.js'
import { guidePrograms, snippets, startGuideProgram } from '../support/guide-programs.js'
import { rawRequest } from '../support/raw-client.js'

const run = promisify(execFile)

const good: UpstreamScript = (exchange) =>
  exchange
    .open()
    .data(...chatAnswer('Hel', 'lo'))
    .end()
const broken: UpstreamScript = (exchange) => exchange.open().data(chatChunk('Hel')).fin()
const chat = { method: 'POST', body: { stream: true } }
const news = { method: 'GET', path: '/news' }

const longestWaitMs = 1_500

/** Whether a program tells its clients that the upstream has hung up: some let them wait for ever. */
async function tells(code: string): Promise<boolean> {
  await using upstream = await startUpstream(broken)
  await using program = await startGuideProgram(code, upstream.url)
  using client = rawRequest({ port: program.port, ...chat })
  await within(client.finished(), longestWaitMs)
  if (!client.body.complete) return false
  try {
    return failureOf(client.data).code === 'connection_reset'
  } catch {
    return false
  }
}

const migrations = await guidePrograms('docs/MIGRATING.md')
const before = (title: string) => migrations.get(title)?.[0] ?? ''
const after = (title: string) => migrations.get(title)?.[1] ?? ''
const ofNews = 'From express-sse'
const ofChats = [
  'From hand-written events',
  'From better-sse',
  'From connect-timeout',
  'From http-proxy-middleware',
  'From express-http-proxy',
  'From @fastify/reply-from',
]

test('docs/MIGRATING.md has a before and an after of each', () => {
  expect([...migrations.keys()].sort()).toEqual([ofNews, ...ofChats].sort())
  for (const codes of migrations.values()) expect(codes).toHaveLength(2)
})

describe.each(ofChats)('docs/MIGRATING.md, %s', (title) => {
  test.each([
    ['before', before],
    ['after', after],
  ])('a good answer comes through: %s', async (_name, code) => {
    await using upstream = await startUpstream(good)
    await using program = await startGuideProgram(code(title), upstream.url)
    using client = await rawRequest({ port: program.port, ...chat }).finished()
    expect(textOf(client.data)).toBe('Hello')
  })

  test('only the second reports an upstream that hangs up', async () => {
    expect(await tells(before(title))).toBe(false)
    expect(await tells(after(title))).toBe(true)
  })
})

describe(`docs/MIGRATING.md, ${ofNews}`, () => {
  test.each([
    ['before', before],
    ['after', after],
  ])('news come: %s', async (_name, code) => {
    await using program = await startGuideProgram(code(ofNews), '')
    using client = await rawRequest({ port: program.port, ...news }).received('It still runs')
    expect(client.status).toBe(200)
  })

  test('clients that have left are forgotten', async () => {
    const counted = 'setInterval(() => console.log("readers:", readers.size), 10)\nconst readers'
    await using program = await startGuideProgram(after(ofNews).replace('const readers', counted), '')
    using client = await rawRequest({ port: program.port, ...news }).received('It still runs')
    await program.says('readers: 1')
    client.reset()
    await program.says('readers: 0')
  })
})

describe('docs/SILLYTAVERN.md, the proxy', async () => {
  const [code = ''] = (await guidePrograms('docs/SILLYTAVERN.md')).get('Your own proxy') ?? []
  /** As SillyTavern's server asks: node-fetch, of its release line and of its staging line. */
  const lines: [string, Record<string, string>][] = [
    ['release', { 'User-Agent': 'node-fetch', Accept: '*/*', Connection: 'close' }],
    ['staging', { 'User-Agent': 'node-fetch', Accept: '*/*', Connection: 'keep-alive' }],
  ]
  const modes: [string, boolean][] = [
    ['streaming', true],
    ['not streaming', false],
  ]
  const cases = lines.flatMap(([line, headers]) =>
    modes.map(([mode, stream]): [string, Record<string, string>, boolean] => [
      `${line}, ${mode}`,
      headers,
      stream,
    ]),
  )

  test.each(cases)('four chats after each other: %s', async (_name, headers, stream) => {
    await using upstream = await startUpstream((exchange) =>
      exchange.body.includes('"stream":true')
        ? good(exchange)
        : exchange.answer('200 OK', '{"choices":[{"message":{"content":"Hello"}}]}'),
    )
    await using program = await startGuideProgram(code, upstream.url)
    for (let chats = 0; chats < 4; chats++) {
      using client = await rawRequest({ port: program.port, headers, body: { stream } }).finished()
      expect(client.body.complete).toBe(true)
      expect(client.header('connection')).toBe(headers.Connection)
      expect(client.bodyText).toContain(stream ? '[DONE]' : '"Hello"')
    }
  })

  test.each(cases)(
    'an upstream that hangs up is a status and a message: %s',
    async (_name, headers, stream) => {
      await using upstream = await startUpstream((exchange) => exchange.reset())
      await using program = await startGuideProgram(code, upstream.url)
      using client = await rawRequest({ port: program.port, headers, body: { stream } }).finished()
      expect(client.status).toBe(503)
      expect(client.json.error.message).toMatch(/^The upstream .*\.$/)
    },
  )

  test.each(lines)('in mid-stream, the text stays and a toast comes: %s', async (_line, headers) => {
    await using upstream = await startUpstream(broken)
    await using program = await startGuideProgram(code, upstream.url)
    using client = await rawRequest({ port: program.port, headers, body: { stream: true } }).finished()
    expect(client.body.complete).toBe(true)
    expect(textOf(client.data)).toBe('Hel')
    expect(failureOf(client.data).message).toMatch(/^The upstream .*\.$/)
    // Without choices its release line would lose the frame.
    expect(JSON.parse(client.data.at(-1) ?? '')).toHaveProperty('choices')
  })

  test('its status check gets a list, and its stop button reaches the upstream', async () => {
    await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')))
    await using program = await startGuideProgram(code, upstream.url)
    using list = await rawRequest({ port: program.port, method: 'GET', path: '/v1/models' }).finished()
    expect(JSON.parse(list.bodyText)).toEqual({ data: [{ id: 'my-model' }] })
    using client = await rawRequest({ port: program.port, ...chat }).received('Hel')
    client.reset()
    await (await upstream.exchange(0)).closed
    using other = rawRequest({ port: program.port, body: { stream: false } })
    const exchange = await upstream.exchange(1)
    other.reset()
    await exchange.closed
  })
})

describe('every command of the guides runs', async () => {
  const pages = ['docs/TROUBLESHOOTING.md', 'docs/SILLYTAVERN.md', 'README.md', 'examples/README.md']
  const commands = await Promise.all(
    pages.map(async (page) => {
      return (await snippets(page, 'sh')).map((command): [string, string] => [page, command])
    }),
  )
  // Commands of npm are for the gate: `.ci/run`. The others run until they are stopped: in test/command and test/package.
  const elsewhere = /^(npm|[A-Z_]+=\S+ npm|npx unhang proxy|node --import unhang\/register) /
  const ours = commands.flat().filter(([, command]) => !elsewhere.test(command))
  const [setting] = ours.filter(([, command]) => command.startsWith('export'))

  test('against the example', async () => {
    await using example = await startExample('express-server.ts')
    for (const [page, command] of ours) {
      const script = `set -eu -o pipefail\n${setting?.[1]}\n${command}`
        .replaceAll('http://127.0.0.1:3000', example.url)
        // The example has an upstream of its own here: test/package/commands.test.ts runs the gauntlet.
        .replace(/^npx unhang gauntlet .*$/m, '')
        .replaceAll('npx unhang', `${process.execPath} dist/cli.js`)
      const { stdout } = await run('bash', ['-c', script]).catch((error) => {
        // Text that --max-time and head cut is meant to be cut.
        if (command.includes('--max-time') || command.includes('| head')) return error
        throw new Error(`${page}: ${command}\n${error.stdout}${error.stderr}`)
      })
      if (!command.startsWith('export')) expect(stdout, command).not.toBe('')
    }
  }, 180_000)
})
