import { spawn } from 'node:child_process'
import { on, once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { within } from '../src/clock.js'
import { startUpstream, type UpstreamScript } from '../src/testing/index.js'
import { chatAnswer, chatChunk, failureOf, textOf } from './support/chat.js'
import { rawRequest } from './support/raw-client.js'

/** The programs of a page, by the heading above them. */
async function programs(file: string): Promise<[string, string[]][]> {
  const [, ...sections] = (await readFile(file, 'utf8')).split(/^## /m)
  return sections.map((section) => {
    const codes = [...section.matchAll(/^```js\n(.*?)^```/gms)].map(([, code]) => code ?? '')
    return [section.split('\n', 1)[0] ?? '', codes]
  })
}

/** Runs a program of a page as it stands there, but for its ports. */
async function startProgram(code: string, upstreamUrl: string) {
  const folder = await mkdtemp(join('test', '.guide-'))
  const file = join(folder, 'program.mjs')
  const text = code
    .replaceAll('http://127.0.0.1:8080', upstreamUrl)
    .replace('.listen(3000)', ".listen(0, '127.0.0.1', function () { console.log(this.address().port) })")
  await writeFile(file, text)
  const child = spawn(process.execPath, [file], { stdio: ['ignore', 'pipe', 'ignore'] })
  const [port] = (await once(child.stdout, 'data')) as [Buffer]
  return {
    port: Number(port),
    /** Waits until it says something. */
    async says(text: string) {
      for await (const [piece] of on(child.stdout, 'data')) if (String(piece).includes(text)) return
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
      await rm(folder, { recursive: true })
    },
  }
}

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
  await using program = await startProgram(code, upstream.url)
  using client = rawRequest({ port: program.port, ...chat })
  await within(client.finished(), longestWaitMs)
  if (!client.body.complete) return false
  try {
    return failureOf(client.data).code === 'connection_reset'
  } catch {
    return false
  }
}

const migrations = await programs('docs/MIGRATING.md')
const [before, after] = [0, 1].map((index) => (title: string) => {
  return migrations.find(([name]) => name === title)?.[1][index] ?? ''
}) as [(title: string) => string, (title: string) => string]
const ofNews = 'From express-sse'
const ofChats = [
  'From hand-written events',
  'From better-sse',
  'From connect-timeout',
  'From http-proxy-middleware',
]

test('docs/MIGRATING.md has a before and an after of each', () => {
  expect(migrations.map(([title]) => title).sort()).toEqual([ofNews, ...ofChats].sort())
  for (const [, codes] of migrations) expect(codes).toHaveLength(2)
})

describe.each(ofChats)('docs/MIGRATING.md, %s', (title) => {
  test.each([
    ['before', before],
    ['after', after],
  ])('a good answer comes through: %s', async (_name, code) => {
    await using upstream = await startUpstream(good)
    await using program = await startProgram(code(title), upstream.url)
    using client = await rawRequest({ port: program.port, ...chat }).finished()
    expect(textOf(client.data)).toBe('Hello')
  })

  test('only the second tells of an upstream that hangs up', async () => {
    expect(await tells(before(title))).toBe(false)
    expect(await tells(after(title))).toBe(true)
  })
})

describe(`docs/MIGRATING.md, ${ofNews}`, () => {
  test.each([
    ['before', before],
    ['after', after],
  ])('news come: %s', async (_name, code) => {
    await using program = await startProgram(code(ofNews), '')
    using client = await rawRequest({ port: program.port, ...news }).received('It still runs')
    expect(client.status).toBe(200)
  })

  test('whoever has left is forgotten', async () => {
    const counted = 'setInterval(() => console.log("readers:", readers.size), 10)\nconst readers'
    await using program = await startProgram(after(ofNews).replace('const readers', counted), '')
    using client = await rawRequest({ port: program.port, ...news }).received('It still runs')
    await program.says('readers: 1')
    client.reset()
    await program.says('readers: 0')
  })
})
