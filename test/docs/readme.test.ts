import { once } from 'node:events'
import { expect, test } from 'vitest'
import type { UpstreamScript } from '../../src/testing/index.js'
import { chatChunk, failureOf, textOf } from '../support/chat.js'
import { snippets, startGuideProgram } from '../support/guide-programs.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'

const all = await snippets('README.md', 'ts')

/** What a snippet imports, and the rest of it. */
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

/** Where each of them belongs, by what it is known by: the program that a reader would have. */
const programs: [string, (snippet: { imports: string; code: string }) => string][] = [
  [
    "from 'unhang/express'\n\napp.use(guardStreams())",
    ({ imports, code }) =>
      `${withExpress}${imports}\nconst app = express()\n${code}${routed}app.listen(3000)`,
  ],
  [
    "from 'unhang/koa'",
    ({ imports, code }) => `import Koa from 'koa'
      import { Readable } from 'node:stream'
      ${imports}
      const app = new Koa()
      ${code}
      app.use(async (context) => {
        const upstream = await fetch('${url}')
        context.type = 'text/event-stream'
        context.body = Readable.fromWeb(upstream.body)
      })
      app.listen(3000)`,
  ],
  [
    'wrapApp(app)',
    ({ imports, code }) => `${withExpress}${imports}\nconst app = express()\n${routed}${code}`,
  ],
  [
    'getSignal(request)',
    ({ imports, code }) => `${withExpress}${imports}
      import { guardStreams } from 'unhang/express'
      const url = '${url}', body = '{}'
      const app = express().use(guardStreams())
      app.post('/v1/chat/completions', async (request, response) => {
        ${code}
        response.setHeader('Content-Type', 'text/event-stream')
        for await (const chunk of upstream.body) response.write(chunk)
        response.end()
      })
      app.listen(3000)`,
  ],
  ['https://api.openai.com', ({ imports, code }) => `${imports}\n${code}`],
  ['relay(upstream, (', ({ code }) => withExpress + inHandler('{ relay }', fetched + code)],
  ['read(upstream)', ({ code }) => withExpress + inHandler('{ read, writer }', fetched + code)],
  ['openUpstream(', ({ code }) => withExpress + inHandler('stream', code)],
  [
    'drainStreams(server)',
    ({ imports, code }) => `${withExpress}${imports}
      import { guardStreams } from 'unhang/express'
      const app = express().use(guardStreams())
      ${routed}${code}`,
  ],
  ['handleStream(response', ({ imports, code }) => `${imports}\n${code}`],
]

test('there is a program for every snippet', () => {
  expect(all.map((code) => programs.filter(([known]) => code.includes(known)).length)).toEqual(
    programs.map(() => 1),
  )
})

test.each(programs)('its client is told of an upstream that hangs up: %s', async (known, program) => {
  const translates = known.startsWith('relay(upstream, (')
  const script: UpstreamScript = (exchange) =>
    exchange
      .open()
      .data(translates ? { text: 'Hel' } : chatChunk('Hel'))
      .fin()
  await using upstream = await startUpstream(script)
  const snippet = all.find((code) => code.includes(known)) ?? ''
  const code = program(parts(snippet)).replace('https://api.openai.com', url)
  await using server = await startGuideProgram(code, upstream.url)
  using client = await rawRequest({ port: server.port, body: { stream: true } }).finished()
  expect(client.body.complete).toBe(true)
  expect(textOf(client.data)).toBe('Hel')
  expect(failureOf(client.data).code).toBe('connection_reset')
  if (!known.includes('drainStreams')) return
  expect(client.header('keep-alive')).toBe('timeout=65')
  server.process.kill('SIGTERM')
  expect(await once(server.process, 'exit')).toEqual([0, null])
})
