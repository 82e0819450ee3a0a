import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { getRequestListener } from '@hono/node-server'
import ts from 'typescript'
import { describe, expect, test } from 'vitest'
import { eventsIn, readSome } from '../resume/resumable.js'
import { chatAnswer, failureOf } from '../support/chat.js'
import { snippets } from '../support/guide-programs.js'
import { listen } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'
import { withResolvers } from '../support/with-resolvers.js'
import { workshop } from '../support/workshop.js'

type Fetch = (request: Request) => Response | Promise<Response>

const codes = [...(await snippets('docs/WEB.md', 'ts')), ...(await snippets('docs/WEB.md', 'js'))]

/** A server for a handler where there is neither Bun nor Deno: their options come before or behind it. */
const servers = `let fetched
const Bun = { serve: ({ fetch }) => { fetched = fetch } }
const Deno = { serve: (_options, handler) => { fetched = handler } }
`

/** The module that a snippet of the page makes. */
async function moduleOf(code: string, url: string, folder: string) {
  const { outputText } = ts.transpileModule(code, { compilerOptions: { target: 99, module: 99 } })
  const file = join(folder, `snippet-${codes.indexOf(code)}.mjs`)
  await writeFile(file, `const url = ${JSON.stringify(url)}\n${servers}${outputText}\nexport { fetched }\n`)
  return await import(/* @vite-ignore */ pathToFileURL(resolve(file)).href)
}

/** The fetch handler that a snippet of the page makes. */
async function handlerOf(code: string, url: string, folder: string): Promise<Fetch> {
  const module = await moduleOf(code, url, folder)
  return module.POST ?? module.default?.fetch ?? module.fetched
}

describe('docs/WEB.md: each handler on the page', () => {
  test.each(codes.map((code) => [code.match(/Bun|Deno|createResume|POST|Hono|default/)?.[0], code]))(
    '%s',
    async (_name, code = '') => {
      await using upstream = await startUpstream((exchange) => {
        exchange.open().data(...chatAnswer('Hel', 'lo').slice(0, exchange.body.includes('"whole"') ? 4 : 2))
        if (exchange.body.includes('"whole"')) exchange.end()
        else exchange.fin()
      })
      await using place = await workshop()
      const handler = await handlerOf(code, upstream.url, place.folder)
      await using server = await listen(getRequestListener((request) => handler(request)))
      using good = await rawRequest({ port: server.port, body: { stream: true, model: 'whole' } }).finished()
      expect(good.data.map((data) => (data === '[DONE]' ? data : JSON.parse(data)))).toEqual(
        chatAnswer('Hel', 'lo'),
      )
      using broken = await rawRequest({ port: server.port, body: { stream: true } }).finished()
      expect(failureOf(broken.data).code).toBe('connection_reset')
      expect(broken.body.complete).toBe(true)
    },
  )

  test('its clients rejoin their streams', async () => {
    const code = codes.find((each) => each.includes('createResume')) ?? ''
    const gate = withResolvers()
    await using upstream = await startUpstream(async (exchange) => {
      exchange.open().data(...chatAnswer('Hel', 'lo').slice(0, 1))
      await gate.promise
      exchange.data(...chatAnswer('Hel', 'lo').slice(1)).end()
    })
    await using place = await workshop()
    const { POST, GET, DELETE } = await moduleOf(code, upstream.url, place.folder)
    const handlers: Record<string, Fetch> = { POST, GET, DELETE }
    const handle: Fetch = (request) => (handlers[request.method] as Fetch)(request)
    await using server = await listen(getRequestListener(handle))
    const headers = { 'x-user-id': 'ada' }
    const first = await readSome(`${server.url}/chat`, { method: 'POST', headers }, 1)
    first.leave()
    const stream = `${server.url}/chat/${first.response.headers.get('unhang-stream')}`
    const rest = await fetch(`${stream}?after=1`, { headers })
    gate.resolve()
    const got = [...first.events, ...eventsIn(await rest.text())]
    expect(got.map((data) => (data === '[DONE]' ? data : JSON.parse(data)))).toEqual(chatAnswer('Hel', 'lo'))
    expect((await fetch(stream, { method: 'DELETE', headers: { 'x-user-id': 'bob' } })).status).toBe(404)
    expect((await fetch(stream, { method: 'DELETE', headers })).status).toBe(204)
  })
})
