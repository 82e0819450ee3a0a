import { expect, test } from 'vitest'
import { startUpstream, type UpstreamExchange, type UpstreamScript } from '../../src/testing/index.js'
import { chatAnswer, chatChunk } from '../support/chat.js'
import { guidePrograms, startGuideProgram } from '../support/guide-programs.js'
import { rawRequest } from '../support/raw-client.js'

const libraries = ['fetch', 'axios', 'undici', 'http.request', 'OpenAI SDK', 'AI SDK', 'LangChain']
const [route = '', ...snippets] = (await guidePrograms('docs/RECIPES.md')).get('By client library') ?? []

test('docs/RECIPES.md has a snippet for each client library', () => {
  expect(snippets).toHaveLength(libraries.length)
})

/** The program that a reader has then: the snippet stands in the route, and its imports at the top. */
function programOf(library: string): string {
  const lines = (snippets[libraries.indexOf(library)] ?? '').split('\n')
  const imports = lines.filter((line) => line.startsWith('import '))
  const code = lines.filter((line) => !line.startsWith('import ')).join('\n')
  const program = `${imports.join('\n')}\n${route.replace('// the snippet', () => code)}`
  return library === 'AI SDK' ? program.replace(/\}\),\n\)/, "}, { dialect: 'aiSdkUi' }),\n)") : program
}

const begun = (exchange: UpstreamExchange) => exchange.open().data(chatChunk('Hel'))
const scripts: Record<string, UpstreamScript> = {
  good: (exchange) =>
    exchange
      .open()
      .data(...chatAnswer('Hel', 'lo'))
      .end(),
  'hangs up': (exchange) => begun(exchange).fin(),
  'stops short': (exchange) => begun(exchange).end(),
}

/** The text that a client has read, and the message of the error event, if there is one. */
async function ask(port: number, model: string) {
  const body = { model, stream: true, messages: [{ role: 'user', content: 'Hi' }] }
  using client = await rawRequest({ port, body }).finished()
  expect(client.status).toBe(200)
  expect(client.body.complete).toBe(true)
  const events = client.data.filter((data) => data !== '[DONE]').map((data) => JSON.parse(data))
  const error = events.find((event) => event.error || event.type === 'error')
  const text = events.map(({ delta, choices }) => delta ?? choices?.[0]?.delta.content ?? '').join('')
  return { text, failure: error?.error?.message ?? error?.errorText }
}

test.each(libraries)('docs/RECIPES.md, by client library: %s', async (library) => {
  await using upstream = await startUpstream((exchange) =>
    scripts[JSON.parse(exchange.body).model]?.(exchange),
  )
  await using program = await startGuideProgram(programOf(library), upstream.url)
  expect(await ask(program.port, 'good')).toEqual({ text: 'Hello', failure: undefined })
  const isReported = { text: 'Hel', failure: expect.stringMatching(/./) }
  expect(await ask(program.port, 'hangs up')).toEqual(isReported)
  expect(await ask(program.port, 'stops short')).toEqual(isReported)
})
