import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { getRequestListener } from '@hono/node-server'
import ts from 'typescript'
import { describe, expect, test } from 'vitest'
import { chatAnswer, failureOf } from '../support/chat.js'
import { snippets } from '../support/guide-programs.js'
import { listen } from '../support/proxy.js'
import { rawRequest } from '../support/raw-client.js'
import { startUpstream } from '../support/scripted-upstream.js'
import { workshop } from '../support/workshop.js'

type Fetch = (request: Request) => Response | Promise<Response>

const codes = [...(await snippets('docs/WEB.md', 'ts')), ...(await snippets('docs/WEB.md', 'js'))]

/** A server for a handler where there is neither Bun nor Deno: their options come before or behind it. */
const servers = `let fetched
const Bun = { serve: ({ fetch }) => { fetched = fetch } }
const Deno = { serve: (_options, handler) => { fetched = handler } }
`

/** The fetch handler that a snippet of the page makes. */
async function handlerOf(code: string, url: string, folder: string): Promise<Fetch> {
  const { outputText } = ts.transpileModule(code, { compilerOptions: { target: 99, module: 99 } })
  const file = join(folder, `snippet-${codes.indexOf(code)}.mjs`)
  await writeFile(file, `const url = ${JSON.stringify(url)}\n${servers}${outputText}\nexport { fetched }\n`)
  const module = await import(/* @vite-ignore */ pathToFileURL(resolve(file)).href)
  return module.POST ?? module.default?.fetch ?? module.fetched
}

describe('docs/WEB.md: each handler on the page', () => {
  test.each(codes.map((code) => [code.match(/Bun|Deno|POST|Hono|default/)?.[0], code]))(
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
})
