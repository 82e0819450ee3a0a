import { Ollama } from 'ollama'
import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import { assertCleanEnding, startUpstream, type UpstreamScript } from '../../src/testing/index.js'
import { chatAnswer, chatChunk } from '../support/chat.js'
import { dialectAnswers } from '../support/dialect-answers.js'
import { guidePrograms, startGuideProgram } from '../support/guide-programs.js'
import { rawRequest } from '../support/raw-client.js'
import { wire } from '../support/wire.js'

/** The one program of a section, with a clock that a test can wait for. */
async function programOf(file: string, title: string): Promise<string> {
  const [code] = (await guidePrograms(file)).get(title) ?? []
  if (!code) throw new Error(`${file} has no program under ${title}`)
  return code.replace('60_000', '200')
}

const messages = [{ role: 'user' as const, content: 'Hi' }]

/** The text that a client has read, and its error. */
async function read(pieces: AsyncIterable<string>) {
  let text = ''
  try {
    for await (const piece of pieces) text += piece
    return { text }
  } catch (error) {
    return { text, error: (error as Error).message }
  }
}

async function* askOllama(port: number) {
  const client = new Ollama({ host: `http://127.0.0.1:${port}` })
  for await (const { message } of await client.chat({ model: 'm', messages, stream: true }))
    yield message.content
}

async function* askOpenAI(port: number) {
  const client = new OpenAI({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey: 'k', maxRetries: 0 })
  const options = { model: 'm', messages, stream: true as const, stream_options: { include_usage: true } }
  for await (const { choices, usage } of await client.chat.completions.create(options)) {
    yield choices[0]?.delta?.content ?? (usage ? `, ${usage.total_tokens} tokens` : '')
  }
}

const lines = dialectAnswers.ollama as (typeof dialectAnswers)[string]
const faces: [string, (port: number) => AsyncIterable<string>, UpstreamScript, UpstreamScript, string][] = [
  [
    'Ollama clients, an OpenAI upstream',
    askOllama,
    (exchange) =>
      exchange
        .open()
        .data(...chatAnswer('Hel', 'lo'))
        .end(),
    (exchange) => exchange.open().data(chatChunk('Hel')),
    'Hello',
  ],
  [
    'OpenAI clients, an Ollama upstream',
    askOpenAI,
    (exchange) =>
      exchange
        .open('Content-Type: application/x-ndjson')
        .chunk([...lines.begun, ...lines.rest].join(''))
        .end(),
    (exchange) => exchange.open('Content-Type: application/x-ndjson').chunk(lines.begun.join('')),
    'Hello, 0 tokens',
  ],
]

describe.each(faces)('docs/RECIPES.md, %s', (title, ask, good, begun, whole) => {
  test.each<[string, UpstreamScript, object]>([
    ['a good answer', good, { text: whole }],
    [
      'a reset',
      async (exchange) => {
        begun(exchange)
        await exchange.reset()
      },
      { text: 'Hel', error: 'The upstream closed the connection before the answer was complete.' },
    ],
    [
      'a truncation',
      (exchange) => {
        begun(exchange)
        exchange.end()
      },
      { text: 'Hel', error: 'The upstream ended the answer before it was complete.' },
    ],
    ['silence', begun, { text: 'Hel', error: 'The upstream fell silent in the middle of the answer.' }],
  ])('%s', async (_what, script, seen) => {
    await using upstream = await startUpstream(script)
    await using program = await startGuideProgram(await programOf('docs/RECIPES.md', title), upstream.url)
    expect(await read(ask(program.port))).toEqual(seen)
  })
})

describe('docs/RECIPES.md, Ollama clients that want no stream', () => {
  const completion = {
    object: 'chat.completion',
    choices: [{ index: 0, message: { role: 'assistant', content: 'Hello' }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 1, completion_tokens: 2 },
  }
  const asked = { model: 'm', messages, stream: false as const }

  async function answerOf(script: UpstreamScript) {
    await using upstream = await startUpstream(script)
    const code = await programOf('docs/RECIPES.md', 'Ollama clients, an OpenAI upstream')
    await using program = await startGuideProgram(code, upstream.url)
    return await new Ollama({ host: `http://127.0.0.1:${program.port}` }).chat(asked).catch((error) => error)
  }

  test.each<[string, UpstreamScript]>([
    ['JSON', (exchange) => exchange.answer('200 OK', JSON.stringify(completion))],
    [
      'a stream',
      (exchange) =>
        exchange
          .open()
          .data(...chatAnswer('Hel', 'lo'))
          .end(),
    ],
  ])('%s of the upstream is one answer', async (_what, script) => {
    expect(await answerOf(script)).toMatchObject({ message: { content: 'Hello' }, done: true })
  })

  test('a hang-up is an error that the client shows', async () => {
    expect(await answerOf((exchange) => exchange.fin())).toMatchObject({
      message: 'The upstream closed the connection before the answer was complete.',
      status_code: 503,
    })
  })

  test('a request that says nothing of a stream is one for a stream', async () => {
    await using upstream = await startUpstream(faces[0]?.[2] as UpstreamScript)
    const code = await programOf('docs/RECIPES.md', 'Ollama clients, an OpenAI upstream')
    await using program = await startGuideProgram(code, upstream.url)
    const body = { model: 'm', messages }
    using client = await rawRequest({ port: program.port, path: '/api/chat', body }).finished()
    expect(client.header('content-type')).toBe('application/x-ndjson')
    expect(assertCleanEnding(client, 'ollama')).toBeUndefined()
  })
})

describe('docs/DIALECTS.md, a dialect of the app’s own', () => {
  const words = wire({ type: 'hello' }, { type: 'word', text: 'Hi' })
  const bye = wire({ type: 'bye' })

  test.each<[string, UpstreamScript, string]>([
    [
      'a good answer',
      (exchange) =>
        exchange
          .open()
          .chunk(words + bye)
          .end(),
      words + bye,
    ],
    [
      'a truncation',
      (exchange) => exchange.open().chunk(words).end(),
      words + wire({ type: 'sorry', message: 'The upstream ended the answer before it was complete.' }),
    ],
    [
      'its own error',
      (exchange) =>
        exchange
          .open()
          .chunk(wire({ type: 'sorry' }))
          .end(),
      wire({ type: 'sorry' }),
    ],
  ])('%s', async (_what, script, body) => {
    await using upstream = await startUpstream(script)
    const code = await programOf('docs/DIALECTS.md', 'Write your own')
    await using program = await startGuideProgram(code, upstream.url)
    using client = await rawRequest({ port: program.port, path: '/hello', body: { stream: true } }).finished()
    expect(client.bodyText).toBe(body)
    expect(client.body.complete).toBe(true)
  })
})
