import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import type { UpstreamScript } from '../../src/testing/index.js'
import { chatAnswer, chatChunk, failureOf, textOf } from '../support/chat.js'
import { snippets, startGuideProgram } from '../support/guide-programs.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'

/** Every TypeScript snippet of these pages is part of a program that runs here, or is named in `others`. */
const pages = ['README.md', 'docs/QUICKSTART.md', 'docs/GUARD.md', 'docs/STREAMING-ROUTES.md']
const all = new Map(await Promise.all(pages.map(async (page) => [page, await snippets(page, 'ts')] as const)))

const snippetOf = (page: string, known: string) =>
  all.get(page)?.find((snippet) => snippet.includes(known)) ?? ''

/** The imports of a snippet, and the rest of it. */
function parts(snippet: string): { imports: string; code: string } {
  const isImport = (line: string) => line.startsWith('import ')
  const lines = snippet.split('\n')
  return {
    imports: lines.filter(isImport).join('\n'),
    code: lines.filter((line) => !isImport(line)).join('\n'),
  }
}

const url = 'http://127.0.0.1:8080'
const naive = `async (request, response) => {
  const upstream = await fetch('${url}', { method: 'POST' })
  response.setHeader('Content-Type', 'text/event-stream')
  for await (const chunk of upstream.body) response.write(chunk)
  response.end()
}`
const withExpress = `import express from 'express'\n`
const routed = `app.post('/v1/chat/completions', ${naive})\n`
const inHandler = (names: string, code: string) => `
  import { createStreamMiddleware } from 'unhang/express'
  const app = express()
  app.post('/v1/chat/completions', createStreamMiddleware(async (${names}) => {
    ${code}
  }))
  app.listen(3000)`
const fetched = `const upstream = await fetch('${url}')\n`

type Program = (snippet: { imports: string; code: string }) => string

const beforeRoutes: Program = ({ imports, code }) =>
  `${withExpress}${imports}\nconst app = express()\n${code}${routed}app.listen(3000)`
const inKoa: Program = ({ imports, code }) => `import Koa from 'koa'
  import { Readable } from 'node:stream'
  ${imports}
  const app = new Koa()
  ${code}
  app.use(async (context) => {
    const upstream = await fetch('${url}')
    context.type = 'text/event-stream'
    context.body = Readable.fromWeb(upstream.body)
  })
  app.listen(3000)`
const inFastify: Program = ({ imports, code }) => `import Fastify from 'fastify'
  import { Readable } from 'node:stream'
  ${imports}
  const app = Fastify()
  ${code}
  app.post('/v1/chat/completions', async (_request, reply) => {
    const upstream = await fetch('${url}')
    return reply.type('text/event-stream').send(Readable.fromWeb(upstream.body))
  })
  await app.ready()
  app.server.listen(3000)`
const whole: Program = ({ imports, code }) => `${imports}\n${code}`

/** The program that a reader would have for each of them, by its page and a known part of it. */
const programs: [page: string, known: string, program: Program][] = [
  ['README.md', "from 'unhang/express' // Koa", beforeRoutes],
  ['README.md', 'https://api.openai.com', whole],
  ['docs/QUICKSTART.md', 'app.use(guardStreams()) // before your routes', beforeRoutes],
  [
    'docs/QUICKSTART.md',
    'router.use(guardStreams())',
    ({ imports, code }) => `${withExpress}${imports}
      const app = express()
      ${code}
      router.post('/chat/completions', ${naive})
      app.listen(3000)`,
  ],
  ['docs/QUICKSTART.md', "from 'unhang/koa'", inKoa],
  ['docs/QUICKSTART.md', "from 'unhang/fastify'", inFastify],
  [
    'docs/QUICKSTART.md',
    'wrapApp(app)',
    ({ imports, code }) => `${withExpress}${imports}\nconst app = express()\n${routed}${code}`,
  ],
  ['docs/QUICKSTART.md', 'wrapApp(async (request, response)', whole],
  ['docs/QUICKSTART.md', 'handleStream(response', whole],
  [
    'docs/QUICKSTART.md',
    'drainOnSignals(server)',
    ({ imports, code }) => `${withExpress}${imports}
      import { guardStreams } from 'unhang/express'
      const app = express().use(guardStreams())
      ${routed}${code}`,
  ],
  ['docs/GUARD.md', "onDisconnect: 'cancel'", beforeRoutes],
  [
    'docs/GUARD.md',
    "upstream.on('data'",
    ({ imports, code }) => `${withExpress}${imports}
      import { guardStreams } from 'unhang/express'
      const url = '${url}', body = '{}'
      const app = express().use(guardStreams())
      ${code}
      app.listen(3000)`,
  ],
  [
    'docs/STREAMING-ROUTES.md',
    'createStreamMiddleware(async',
    ({ imports, code }) => `${withExpress}${imports}\nconst app = express()\n${code}app.listen(3000)`,
  ],
  [
    'docs/STREAMING-ROUTES.md',
    'relay(upstream, (',
    ({ code }) => withExpress + inHandler('{ relay }', fetched + code),
  ],
  [
    'docs/STREAMING-ROUTES.md',
    'read(upstream)',
    ({ code }) => withExpress + inHandler('{ read, writer }', fetched + code),
  ],
  ['docs/STREAMING-ROUTES.md', '{ retries: 2 }', ({ code }) => withExpress + inHandler('stream', code)],
  ['docs/STREAMING-ROUTES.md', 'upstreams[', ({ code }) => withExpress + inHandler('stream', code)],
  [
    'docs/STREAMING-ROUTES.md',
    'watchConnect(call',
    ({ imports, code }) => `${withExpress}${imports}\n${inHandler('stream', code)}`,
  ],
]

/** These run in a test of their own, or call five clients and are compiled alone (docs.test.ts). */
const others: [page: string, known: string][] = [
  ['docs/GUARD.md', 'new OpenAI()'],
  ['docs/STREAMING-ROUTES.md', 'readAnswer'],
]

test.each(pages)('%s: there is a program for every snippet', (page) => {
  const known = [...programs, ...others].filter(([where]) => where === page).map(([, name]) => name)
  const found = all.get(page)?.map((code) => known.filter((name) => code.includes(name)).length) ?? []
  expect(found).toEqual(known.map(() => 1))
})

test.each(programs)(
  '%s: an upstream that hangs up is reported to its client: %s',
  async (page, known, program) => {
    const translates = known.startsWith('relay(upstream, (')
    const script: UpstreamScript = (exchange) =>
      exchange
        .open()
        .data(translates ? { text: 'Hel' } : chatChunk('Hel'))
        .fin()
    await using upstream = await startUpstream(script)
    const code = program(parts(snippetOf(page, known))).replace('https://api.openai.com', url)
    await using server = await startGuideProgram(code, upstream.url)
    using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
    expect(client.body.complete).toBe(true)
    expect(textOf(client.data)).toBe('Hel')
    expect(failureOf(client.data).code).toBe('connection_reset')
  },
)

test('docs/QUICKSTART.md: its server keeps idle connections for 65 s, and ends well on SIGTERM', async () => {
  const [page, known, program] = programs.find(([, name]) => name === 'drainOnSignals(server)') ?? []
  const code = program?.(parts(snippetOf(page ?? '', known ?? ''))) ?? ''
  await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')).fin())
  await using server = await startGuideProgram(code, upstream.url)
  using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
  expect(client.header('keep-alive')).toBe('timeout=65')
  server.process.kill('SIGTERM')
  expect(await once(server.process, 'exit')).toEqual([0, null])
})

test('README.md: the error event is the one that is sent', async () => {
  const [written] = await snippets('README.md', 'text')
  await using upstream = await startUpstream((exchange) => exchange.open().data(chatChunk('Hel')).fin())
  const program = beforeRoutes(parts(snippetOf('README.md', "from 'unhang/express' // Koa")))
  await using server = await startGuideProgram(program, upstream.url)
  using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
  // A blank line ends an event, and a block of Markdown needs none at its end.
  expect(client.bodyText).toBe(`${written}\n`)
})

test('docs/STREAMING-ROUTES.md: readAnswer makes one JSON answer of a stream', async () => {
  await using upstream = await startUpstream((exchange) =>
    exchange
      .open()
      .data(...chatAnswer('Hel', 'lo'))
      .end(),
  )
  const { imports, code } = parts(snippetOf('docs/STREAMING-ROUTES.md', 'readAnswer'))
  const program = `${withExpress}${imports}\nconst app = express()\n${code}app.listen(3000)`
  await using server = await startGuideProgram(program, upstream.url)
  using client = await rawRequest({ port: server.port, body: { stream: false } }).finished()
  expect(JSON.parse(client.bodyText).choices[0].message.content).toBe('Hello')
})

test('docs/QUICKSTART.md: its CommonJS runs', async () => {
  const [code = ''] = await snippets('docs/QUICKSTART.md', 'js')
  const says = 'console.log(typeof guardStreams, typeof getSignal)'
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--input-type=commonjs',
    '-e',
    `${code}${says}`,
  ])
  expect(stdout).toBe('function function\n')
})
