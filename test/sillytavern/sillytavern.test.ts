import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { UpstreamScript } from '../../src/testing/index.js'
import { chatAnswer, chatChunk } from '../support/chat.js'
import { type ExampleServer, startExample } from '../support/example-server.js'
import { guidePrograms, startGuideProgram } from '../support/guide-programs.js'
import { asksForStream, forEver, nothing, type Shown, shownBy, startModel, told, whole } from './model.js'
import { type SillyTavern, startSillyTavern } from './silly-tavern.js'

const [guarded = ''] = (await guidePrograms('docs/SILLYTAVERN.md')).get('Your own proxy') ?? []
let sillyTavern: SillyTavern

beforeAll(async () => {
  sillyTavern = await startSillyTavern()
})
afterAll(() => sillyTavern?.[Symbol.asyncDispose]())

const partOfJson = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"choi'

const settled = true
const hangsUp = 'The upstream closed the connection before the answer was complete.'
const rawReason = expect.stringMatching(/request to .* failed, reason: read ECONNRESET/)

/** The user's view of one chat with such an upstream. */
async function shown(script: UpstreamScript, streaming: boolean, isGuarded: boolean): Promise<Shown> {
  await using model = await startModel(script)
  await using proxy = isGuarded ? await startGuideProgram(guarded, model.url) : undefined
  // Awaited here: both must live until the chat is over.
  return await shownBy(sillyTavern, proxy?.port ?? model.port, streaming)
}

describe.each<[string, boolean, UpstreamScript, Shown, Shown]>([
  ['reset before an answer', true, (exchange) => exchange.reset(), told(rawReason), told(hangsUp)],
  [
    'reset before an answer',
    false,
    (exchange) => exchange.reset(),
    told(rawReason),
    told('Service Unavailable'),
  ],
  [
    'closed before an answer',
    true,
    (exchange) => exchange.fin(),
    told(expect.stringMatching(/request to .* failed, reason: socket hang up/)),
    told(hangsUp),
  ],
  [
    'no HTTP',
    false,
    (exchange) => exchange.raw('nonsense\r\n\r\n'),
    told(expect.stringMatching(/reason: Parse Error/)),
    told('Bad Gateway'),
  ],
  [
    'a rate limit',
    false,
    (exchange) => exchange.answer('429 Too Many Requests', '{"error":{"message":"Slow down."}}'),
    told('Too Many Requests'),
    told('Too Many Requests'),
  ],
  [
    'reset in mid-stream',
    true,
    (exchange) => exchange.open().data(chatChunk('Hel')).reset(),
    forEver,
    { settled, replies: ['Hel'], toasts: [hangsUp] },
  ],
  [
    'reset in mid-answer',
    false,
    (exchange) => exchange.raw(partOfJson).reset(),
    told(expect.stringMatching(/aborted$/)),
    told('Service Unavailable'),
  ],
  [
    'stops short',
    true,
    (exchange) => exchange.open().data(chatChunk('Hel')).end(),
    { settled, replies: ['Hel'], toasts: [] },
    {
      settled,
      replies: ['Hel'],
      toasts: ['The upstream ended the answer before it was complete.'],
    },
  ],
  [
    'an error as HTML',
    true,
    (exchange) => exchange.answer('500 Internal Server Error', '<h1>Oops</h1>', 'Content-Type: text/html'),
    nothing,
    told('The upstream responded with status 500.'),
  ],
  [
    'an error as JSON',
    false,
    (exchange) => exchange.answer('401 Unauthorized', '{"error":{"message":"No such key."}}'),
    told('Unauthorized'),
    told('Unauthorized'),
  ],
  [
    'JSON where a stream was asked for',
    true,
    (exchange) => exchange.answer('200 OK', '{"error":{"message":"Oops"}}'),
    nothing,
    told(expect.stringMatching(/^The upstream .*\.$/)),
  ],
])('an upstream: %s (streaming: %s)', (_name, streaming, script, without, with_) => {
  test('without unhang', async () => {
    expect(await shown(script, streaming, false)).toEqual(without)
  })
  test('with it', async () => {
    expect(await shown(script, streaming, true)).toEqual(with_)
  })
})

describe.each([
  ['streaming', true],
  ['not streaming', false],
])('%s', (_mode, streaming) => {
  test('four chats after each other', async () => {
    await using model = await startModel(whole)
    await using proxy = await startGuideProgram(guarded, model.url)
    await using chat = await sillyTavern.open(`http://127.0.0.1:${proxy.port}/v1`, streaming)
    for (let chats = 1; chats <= 4; chats++) {
      await chat.send('Hello?')
      expect(await chat.settled()).toBe(true)
      expect(await chat.replies()).toEqual(Array(chats).fill('Hello'))
    }
    expect(await chat.toasts()).toEqual([])
  })

  test('its stop button reaches the upstream', async () => {
    await using model = await startModel((exchange) =>
      // It shows a piece when the next one has come, and no more than 30 a second.
      asksForStream(exchange) ? exchange.open().every(50, () => exchange.data(chatChunk('Hel'))) : undefined,
    )
    await using proxy = await startGuideProgram(guarded, model.url)
    await using chat = await sillyTavern.open(`http://127.0.0.1:${proxy.port}/v1`, streaming)
    await chat.send('Hello?')
    if (streaming) await chat.replied('Hel')
    while (!model.exchanges.at(-1)?.head.startsWith('POST')) await model.exchange(model.exchanges.length)
    await chat.stop()
    await model.exchanges.at(-1)?.closed
    expect(await chat.settled()).toBe(true)
    expect(await chat.toasts()).toEqual([])
  })

  test('the example answers', async () => {
    await using example: ExampleServer = await startExample('express-server.ts')
    await using chat = await sillyTavern.open(`${example.url}/v1`, streaming, 'gpt-4o-mini')
    await chat.send('Hello?')
    expect(await chat.settled(30_000)).toBe(true)
    expect((await chat.replies()).join()).toMatch(/\w+ \w+/)
    expect(await chat.toasts()).toEqual([])
  })
})

test('a proxy that writes Connection: keep-alive', async () => {
  const server = createServer((request, response) => {
    if (request.method === 'GET') return void response.end('{"data":[{"id":"my-model"}]}')
    response.writeHead(200, { 'Content-Type': 'text/event-stream', Connection: 'keep-alive' })
    const events = chatAnswer('Hel', 'lo').map((event) =>
      event === '[DONE]' ? event : JSON.stringify(event),
    )
    response.end(events.map((event) => `data: ${event}\n\n`).join(''))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await using chat = await sillyTavern.open(`http://127.0.0.1:${port}/v1`, true)
  for (let chats = 1; chats <= 4; chats++) {
    await chat.send('Hello?')
    expect(await chat.settled()).toBe(true)
    expect(await chat.replies()).toEqual(Array(chats).fill('Hello'))
  }
  server.close()
  server.closeAllConnections()
})
