import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { chatAnswer, chatChunk, failureOf, textOf } from '../support/chat.js'
import { referencePages, snippets } from '../support/guide-programs.js'
import { rawRequest } from '../support/raw-client.js'
import { type Script, startUpstream } from '../support/scripted-upstream.js'
import { workshop } from '../support/workshop.js'

const run = promisify(execFile)

describe('docs/FETCH.md', () => {
  /** Runs the proxy of the page in front of an upstream. */
  async function withProxy(script: Script, use: (port: number) => Promise<void>) {
    await using upstream = await startUpstream(script)
    await using place = await workshop()
    const [code = ''] = await snippets('docs/FETCH.md', 'js')
    await writeFile(join(place.folder, 'proxy.mjs'), code)
    const env = { ...process.env, UPSTREAM_URL: upstream.url, PORT: '0' }
    const child = spawn(process.execPath, [join(place.folder, 'proxy.mjs')], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    try {
      const [text] = await once(child.stdout, 'data')
      await use(Number(String(text).match(/\d+/)?.[0]))
    } finally {
      child.kill('SIGTERM')
      expect(await once(child, 'exit')).toEqual([0, null])
    }
  }

  test('streams, and answers the rest', async () => {
    const script: Script = (exchange) =>
      exchange.body.includes('"stream":true')
        ? exchange
            .open()
            .data(...chatAnswer('Hel', 'lo'))
            .end()
        : exchange.answer('200 OK', '{"object":"chat.completion"}')
    await withProxy(script, async (port) => {
      using client = await rawRequest({ port, body: { stream: true } }).finished()
      expect(textOf(client.data)).toBe('Hello')
      using plain = await rawRequest({ port, body: { stream: false } }).finished()
      expect(plain.bodyText).toBe('{"object":"chat.completion"}')
      // The server's own timer, which Node announces: 5 s if it is not set.
      for (const each of [client, plain]) expect(each.header('keep-alive')).toBe('timeout=65')
    })
  })

  test('survives its upstream', async () => {
    await withProxy(
      (exchange) =>
        exchange.body.includes('"stream":true')
          ? exchange.open().data(chatChunk('Hel')).fin()
          : exchange.fin(),
      async (port) => {
        using client = await rawRequest({ port, body: { stream: true } }).finished()
        expect(textOf(client.data)).toBe('Hel')
        expect(failureOf(client.data).code).toBe('connection_reset')
        using plain = await rawRequest({ port, body: { stream: false } }).finished()
        expect(plain.status).toBe(503)
      },
    )
  })
})

/** The names that a snippet may use without saying where they come from. */
const given: Record<string, string> = {
  app: "declare const app: import('express').Application",
  context: "declare const context: import('koa').Context",
  server: "declare const server: import('node:http').Server",
  request: "declare const request: import('express').Request",
  response: "declare const response: import('express').Response",
  upstream: 'declare const upstream: Response',
  stream: "declare const stream: import('unhang').StreamContext",
  relay: "declare const relay: import('unhang').StreamContext['relay']",
  read: "declare const read: import('unhang').StreamContext['read']",
  writer: "declare const writer: import('unhang').SSEWriter",
  signal: 'declare const signal: AbortSignal',
  error: 'declare const error: unknown',
  url: 'declare const url: string',
  body: 'declare const body: string',
}

/** The app of a snippet that imports from one of these. */
const apps: [door: string, line: string][] = [
  ['unhang/koa', "declare const app: import('koa')"],
  ['unhang/fastify', "declare const app: import('fastify').FastifyInstance"],
  ['unhang/hono', "declare const app: import('hono').Hono"],
]

/** A snippet as a module that can be compiled. */
function asModule(code: string): string {
  const declared = Object.entries(given).filter(([name]) => {
    const isThere = new RegExp(`(const|let|import) (\\{[^}]*\\b|\\[)?${name}\\b`, 'm').test(code)
    return new RegExp(`(?<![.\\w'])${name}\\b(?!['\\w-])`).test(code) && !isThere
  })
  const lines = declared.map(([name, line]) =>
    name !== 'app' ? line : (apps.find(([door]) => code.includes(`from '${door}'\n`))?.[1] ?? line),
  )
  return `${lines.join('\n')}\n${code}\nexport {}\n`
}

test('every TypeScript snippet of the README and of the reference compiles', async () => {
  await using place = await workshop()
  for (const page of referencePages) {
    const codes = await snippets(page, 'ts')
    expect(codes.length, page).toBeGreaterThan(1)
    for (const [index, code] of codes.entries()) {
      await writeFile(join(place.folder, `${basename(page, '.md')}-${index}.ts`), asModule(code))
    }
  }
  const compiler = {
    extends: '../../tsconfig.json',
    include: ['*.ts'],
    compilerOptions: { exactOptionalPropertyTypes: true },
  }
  await writeFile(join(place.folder, 'tsconfig.json'), JSON.stringify(compiler))
  const result = await run('npx', ['tsc', '-p', place.folder]).catch((error) => error)
  expect(result.stdout).toBe('')
}, 60_000)

describe('docs/TESTING.md', () => {
  test('its TypeScript compiles', async () => {
    await using place = await workshop()
    const proxy =
      'export declare function startProxy(url: string): Promise<{ port: number } & AsyncDisposable>\n'
    await writeFile(join(place.folder, 'proxy.ts'), proxy)
    for (const [index, code] of (await snippets('docs/TESTING.md', 'ts')).entries()) {
      await writeFile(join(place.folder, `snippet-${index}.ts`), `${code}\nexport {}\n`)
    }
    const compiler = { extends: '../../tsconfig.json', include: ['*.ts'] }
    await writeFile(join(place.folder, 'tsconfig.json'), JSON.stringify(compiler))
    const result = await run('npx', ['tsc', '-p', place.folder]).catch((error) => error)
    expect(result.stdout).toBe('')
  }, 60_000)

  test('its vitest passes with its proxy', async () => {
    await using place = await workshop()
    const [suite = '', proxy = '', mistake = ''] = await snippets('docs/TESTING.md', 'ts')
    await writeFile(join(place.folder, 'proxy.ts'), proxy)
    await writeFile(join(place.folder, 'proxy.test.ts'), suite)
    await writeFile(join(place.folder, 'mistake.ts'), mistake)
    await writeFile(join(place.folder, 'vitest.config.js'), 'export default {}')
    const { stdout } = await run('npx', [
      'vitest',
      'run',
      '--root',
      place.folder,
      '--config',
      'vitest.config.js',
    ])
    expect(stdout).toMatch(/\d\d passed/)
    await run(process.execPath, ['--import', 'tsx', join(place.folder, 'mistake.ts')])
  }, 60_000)

  test('its node:test passes for a proxy that keeps its promises, and fails for one that does not', async () => {
    await using place = await workshop()
    const [code = ''] = await snippets('docs/TESTING.md', 'js')
    const test = join(place.folder, 'proxy.test.mjs')
    await writeFile(test, code)
    const proxy = (handler: string) => `
      import { once } from 'node:events'
      import { createServer } from 'node:http'
      import { handleStream } from 'unhang'
      const timeouts = { firstByteMs: 200, inactivityMs: 200, totalMs: 600, clientStallMs: 200 }
      export async function startProxy(url) {
        const server = createServer((request, response) => ${handler}).listen(0, '127.0.0.1')
        await once(server, 'listening')
        return {
          port: server.address().port,
          async [Symbol.asyncDispose]() { server.closeAllConnections(); server.close() },
        }
      }`
    const outcome = () => run(process.execPath, ['--test', test]).catch((error) => error)
    await writeFile(
      join(place.folder, 'proxy.mjs'),
      proxy(
        'handleStream(response, ({ relay, signal }) => relay(fetch(url, { method: "POST", signal })), { timeouts })',
      ),
    )
    expect((await outcome()).stdout).toMatch(/fail 0\b/)
    await writeFile(join(place.folder, 'proxy.mjs'), proxy('void request.socket.destroy()'))
    expect((await outcome()).stdout).toMatch(/pass 0\b/)
  }, 60_000)
})
