import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { examine } from '../../src/doctor/doctor.js'
import { handleStream, type SSEWriterOptions, type StreamContext } from '../../src/index.js'
import { gauntletOf } from '../command/run-gauntlet.js'
import { chatAnswer, chatChunk, textOf } from '../support/chat.js'
import { type ExampleServer, startExample } from '../support/example-server.js'
import { freePort } from '../support/free-port.js'
import { snippets } from '../support/guide-programs.js'
import { listen } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { withResolvers } from '../support/with-resolvers.js'

/** nginx with a `location` of a page, in front of a server. @param group its `upstream`, if it has one */
async function startNginx(location: string, group = '') {
  const folder = await mkdtemp(join(tmpdir(), 'unhang-nginx-'))
  const port = await freePort()
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${folder}/${name};`)
    .join(' ')
  await writeFile(
    join(folder, 'nginx.conf'),
    `daemon off; pid ${folder}/pid; error_log stderr;
    events {}
    http { access_log off; ${paths} ${group} server { listen 127.0.0.1:${port}; ${location} } }`,
  )
  const child = spawn('nginx', ['-e', 'stderr', '-c', join(folder, 'nginx.conf')], { stdio: 'inherit' })
  // It says nothing when it listens.
  await expect.poll(() => fetch(`http://127.0.0.1:${port}/`).then(({ status }) => status)).toBe(200)
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      child.kill()
      await once(child, 'exit')
      await rm(folder, { recursive: true })
    },
  }
}

let example: ExampleServer
let location: string
beforeAll(async () => {
  example = await startExample('express-server.ts')
  const [snippet = ''] = await snippets('docs/TROUBLESHOOTING.md', 'nginx')
  location = snippet.replace('http://127.0.0.1:3000', example.url)
})
afterAll(() => example?.[Symbol.asyncDispose]())

const chat = {
  model: 'gpt-4o-mini',
  stream: true,
  messages: [{ role: 'user', content: 'Count.' }],
}

test('the doctor has no finding behind the nginx of the page', async () => {
  await using nginx = await startNginx(location)
  const { checks } = await examine(`http://127.0.0.1:${nginx.port}/v1`, {})
  expect(checks.filter(({ outcome }) => outcome === 'finding')).toEqual([])
})

test('nothing is held back there', async () => {
  await using nginx = await startNginx(location)
  using client = await rawRequest({ port: nginx.port, path: '/v1/chat/completions', body: chat }).finished()
  expect(client.status).toBe(200)
  expect(client.data.at(-1)).toBe('[DONE]')
  const [first = 0] = client.arrivalsMs
  // It comes in pieces: what is held back comes in one.
  expect(client.arrivalsMs.filter((at) => at > first).length).toBeGreaterThan(3)
})

/** A stream that is silent until it is told to end, behind an nginx that waits for 1 s. */
async function startSilence(writer: SSEWriterOptions, handle: (stream: StreamContext) => unknown) {
  const server = await listen((request, response) => {
    if (request.method === 'GET') response.end()
    else void handleStream(response, handle, { dialect: 'openaiChat', writer })
  })
  const nginx = await startNginx(
    `location / { proxy_pass ${server.url}; proxy_buffering off; proxy_read_timeout 1s; error_log stderr crit; }`,
  )
  return {
    port: nginx.port,
    async [Symbol.asyncDispose]() {
      await nginx[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

const ask = (port: number) => rawRequest({ port, path: '/v1/chat/completions', body: chat })

describe('an nginx that waits for 1 s of silence', () => {
  const never = { heartbeatMs: false, headersAfterMs: false } as const
  const onceLeft = ({ signal }: StreamContext) => once(signal, 'abort')

  test('gives up where no heartbeat comes: before the headers', async () => {
    await using silence = await startSilence(never, onceLeft)
    using client = await ask(silence.port).finished()
    expect(client.status).toBe(504)
  })

  test('gives up where no heartbeat comes: mid-stream', async () => {
    await using silence = await startSilence(never, async (stream) => {
      await stream.writer.write({ data: chatChunk('Hel') })
      await onceLeft(stream)
    })
    using client = await ask(silence.port).closed()
    expect(textOf(client.data)).toBe('Hel')
    expect(client.body.complete).toBe(false)
  })

  test('waits as long as heartbeats come', async () => {
    const { promise: told, resolve: tell } = withResolvers<void>()
    await using silence = await startSilence(
      { heartbeatMs: 300, headersAfterMs: 300 },
      async ({ writer }) => {
        await told
        for (const data of chatAnswer('Hello')) await writer.write({ data })
      },
    )
    using client = ask(silence.port)
    // Timers are never early: five beats are 1.5 s.
    await client.until(() => client.status === 504 || client.bodyText.startsWith(':\n\n'.repeat(5)))
    expect(client.status).toBe(200)
    tell()
    await client.finished()
    expect(textOf(client.data)).toBe('Hello')
    expect(client.data.at(-1)).toBe('[DONE]')
  })
})

/** What docs/GAUNTLET.md says of a proxy: its verdict on each trial. */
async function verdictsOf(proxy: string): Promise<Map<string, string>> {
  const page = await readFile('docs/GAUNTLET.md', 'utf8')
  const rows = page.split('\n').flatMap((line) => (line.startsWith('| ') ? [line.split('|')] : []))
  const column = rows
    .flatMap((row) => row.findIndex((cell) => cell.includes(`${proxy} `)))
    .find((at) => at > 0)
  const cells = rows.map((row) => [row[1]?.trim(), row[column ?? 0]?.replaceAll('*', '').trim()] as const)
  return new Map(cells.filter((cell): cell is [string, string] => /^FM-/.test(cell[0] ?? '')))
}

test('the gauntlet finds in nginx what docs/GAUNTLET.md says, as far as it takes no deadline', async () => {
  // As bench/peers/serve.mjs has it, which made the page.
  const serve = (upstream: string) =>
    startNginx(
      `location = / { return 200; }
      location / {
        proxy_pass http://model; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
        error_log stderr crit;
      }`,
      `upstream model { server ${upstream.replace('http://', '')}; keepalive 16; }`,
    )
  // FM-18 waits for 20 s.
  const { results } = await gauntletOf(serve, { isQuick: true, skip: ['FM-18'] })
  const written = await verdictsOf('nginx')
  expect(results.length).toBeGreaterThan(20)
  for (const { mode, name, verdict } of results) {
    expect(`${mode} ${name}: ${verdict}`).toBe(`${mode} ${name}: ${written.get(`${mode} ${name}`)}`)
  }
})
